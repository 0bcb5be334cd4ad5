"""How far each convolution is from what the processor can do.

``python limits.py FLOAT.onnx QUANTIZED.onnx DATA.npz`` profiles both on one thread and prints, for
each Conv, multiply-accumulates a nanosecond in float and on integers. An instruction of 256 bits
does 8 float FMAs; VPMADDUBSW, VPMADDWD and VPADDD do 32 products of bytes in three instructions,
of which two go to the two ports that FMA has: at most 2 x float. VPDPBUSD does 32 in one: 4 x.
Beside it stands what one large product of matrices reaches, the practical ceiling. Preload
``without_vnni.c`` to see a processor without VNNI.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from peer import samples

from onnxq.graph import Model, producer
from onnxq.report.coverage.costs import costs
from onnxq.runtime.coverage import optimized
from onnxq.runtime.origins import origins
from onnxq.runtime.profile import profile

SIDE = 512
"""Rows and columns of the large matrices."""

REPEATS = 40
"""Profiled runs, of which the fastest counts."""


def rates(model: Model, macs: dict[str, int | None], feed: dict[str, object]) -> dict[str, float]:
    """By node, multiply-accumulates a nanosecond."""
    proto = model.to_proto()
    names = origins(proto.graph, optimized(proto).graph)
    took: dict[str, float] = {}
    for node, seconds in least(model, feed).items():
        name = convolution(model, names.get(node, node))
        took[name] = took.get(name, 0.0) + seconds
    return {n: 1e-9 * (macs.get(n) or 0) / t for n, t in took.items() if macs.get(n) and t}


def least(model: Model, feed: dict[str, object]) -> dict[str, float]:
    """Seconds by node of the optimized graph, the least of many: other work only ever adds."""
    found: dict[str, float] = {}
    for _ in range(REPEATS):
        for time in profile(model, [feed], runs=1, warm_up=2, threads=1):  # type: ignore[list-item]
            found[time.node] = min(found.get(time.node, np.inf), time.seconds)
    return found


def convolution(model: Model, name: str) -> str:
    """The Conv that was fused with the activation or sum *name*; else *name*."""
    node = next((n for n in model.graph.nodes if n.name == name), None)
    while node is not None and node.op in ("Relu", "Clip", "Add"):
        node = producer(node.inputs[0])
    return node.name if node is not None and node.op == "Conv" else name


def ceiling(*, integer: bool) -> float:
    """What a product of large matrices reaches, in multiply-accumulates a nanosecond."""
    rng = np.random.default_rng(0)
    kind = TensorProto.UINT8 if integer else TensorProto.FLOAT
    out = TensorProto.INT32 if integer else TensorProto.FLOAT
    weight = rng.integers(-64, 65, (SIDE, SIDE)).astype(np.int8 if integer else np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger" if integer else "MatMul", ["x", "w"], ["y"], "product")],
        "ceiling",
        [helper.make_tensor_value_info("x", kind, [SIDE, SIDE])],
        [helper.make_tensor_value_info("y", out, [SIDE, SIDE])],
        [numpy_helper.from_array(weight, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    x = rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8 if integer else np.float32)
    return 1e-9 * SIDE**3 / max(least(Model.load(proto), {"x": x}).values())


def main(floating: Path, quantized: Path, data: Path) -> None:
    feed = next(iter(samples(floating, data)))
    first, second = Model.load(floating), Model.load(quantized)
    one = rates(first, costs(onnx.load(floating)), feed)
    two = rates(second, costs(onnx.load(quantized)), feed)
    most, integers = ceiling(integer=False), ceiling(integer=True)
    print(f"large matrices: float {most:.0f}, integers {integers:.0f} ({integers / most:.1f} x)")
    print(f"{'convolution':40} {'float':>7} {'integer':>8} {'ratio':>6} {'of ceiling':>11}")
    shared = [n.name for n in second.graph.nodes if n.op == "Conv" and n.name in one.keys() & two]
    for name in shared:
        ratio, share = two[name] / one[name], two[name] / integers
        print(f"{name[:40]:40} {one[name]:7.1f} {two[name]:8.1f} {ratio:6.2f} {share:11.0%}")


if __name__ == "__main__":
    main(*(Path(a) for a in sys.argv[1:4]))
