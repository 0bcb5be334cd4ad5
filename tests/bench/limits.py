"""How far each convolution is from what the processor can do.

``python limits.py FLOAT.onnx QUANTIZED.onnx DATA.npz`` profiles both on one thread and prints, for
each Conv, multiply-accumulates a nanosecond in float and on integers. An instruction of 256 bits
does 8 float FMAs; VPMADDUBSW, VPMADDWD and VPADDD do 32 products of bytes in three instructions,
of which two go to the two ports that FMA has: at most 2 x float. VPDPBUSD does 32 in one: 4 x.
Beside it stands what one large product of matrices reaches, the practical ceiling. Run it by
``without_vnni.py`` to see a processor without VNNI.
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
from onnxq.runtime.profile import durations
from onnxq.runtime.session import Feed

SIDE = 512
"""Rows and columns of the large matrices."""

SESSIONS, RUNS = 5, 20
"""Profiled sessions, and runs of each, of which the fastest counts."""

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput", "Transpose")


Seconds = dict[str, float]


def times(model: Model, feed: Feed) -> tuple[Seconds, Seconds]:
    """Least seconds of the nodes that compute, a Conv with what was fused into it; of conversions.

    Conversions are changes of type and of layout, by names of the optimized graph.
    """
    proto = model.to_proto()
    run = optimized(proto).graph
    names = origins(proto.graph, run)
    layouts = {n.name for n in run.node if n.op_type in CONVERSIONS}
    computing: Seconds = {}
    converting: Seconds = {}
    for node, seconds in least(model, feed).items():
        if node in layouts:
            converting[node] = seconds
        else:
            name = convolution(model, names.get(node, node))
            computing[name] = computing.get(name, 0.0) + seconds
    return computing, converting


def least(model: Model, feed: Feed) -> Seconds:
    """Seconds by node of the optimized graph, the least of many: other work only ever adds."""
    found: Seconds = {}
    for _ in range(SESSIONS):
        for (node, _), took in durations(model, [feed], runs=RUNS, threads=1).items():
            found[node] = min(found.get(node, np.inf), *took.seconds)
    return found


def convolution(model: Model, name: str) -> str:
    """The Conv that was fused with the activation or sum *name*; else *name*."""
    node = next((n for n in model.graph.nodes if n.name == name), None)
    while node is not None and node.op in ("Relu", "Clip", "Add", "BatchNormalization"):
        node = producer(node.inputs[0])
    return node.name if node is not None and node.op == "Conv" else name


def fewest(one: Seconds, two: Seconds, macs: dict[str, int | None], share: float) -> float:
    """The least seconds that layers of *one*, float, and *two*, integers, can take together.

    At least *share* of the multiply-accumulates are on integers; where a limit is met, a part of a
    layer is, so that nothing takes less. What is no layer takes what it takes on the faster side.
    """
    layers = {n for n in one.keys() & two if macs.get(n)}
    rest = min(sum(t for n, t in of.items() if n not in layers) for of in (one, two))
    left = (1 - share) * sum(macs.get(n) or 0 for n in layers)
    total = rest + sum(two[n] for n in layers)
    gains = {n: two[n] - one[n] for n in layers if two[n] > one[n]}
    for name in sorted(gains, key=lambda n: -gains[n] / (macs[n] or 1)):
        part = min(1.0, left / (macs[name] or 1))
        total -= part * gains[name]
        left -= part * (macs[name] or 0)
    return total


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
    works = costs(onnx.load(quantized))
    (one, between), (two, converting) = times(first, feed), times(second, feed)
    most, integers = ceiling(integer=False), ceiling(integer=True)
    print(f"large matrices: float {most:.0f}, integers {integers:.0f} ({integers / most:.1f} x)")
    print(f"{'convolution':40} {'float':>7} {'integer':>8} {'ratio':>6} {'of ceiling':>11}")
    for node in second.graph.nodes:
        name, macs = node.name, works.get(node.name)
        if node.op == "Conv" and name in one.keys() & two and macs:
            rates = [1e-9 * macs / t[name] for t in (one, two)]
            ratio, share = rates[1] / rates[0], rates[1] / integers
            print(f"{name[:40]:40} {rates[0]:7.1f} {rates[1]:8.1f} {ratio:6.2f} {share:11.0%}")
    whole = sum(one.values()) + sum(between.values())
    now = sum(two.values()) + sum(converting.values())
    print(f"float {1e3 * whole:.3f} ms; quantized {1e3 * now:.3f} ms: {whole / now:.2f} x")
    for share in (0.0, 0.9):
        best = fewest(one, two, works, share)
        print(f"no choice with {share:4.0%} integers takes less than {1e3 * best:.3f} ms: "
              f"{whole / best:.2f} x")  # fmt: skip


if __name__ == "__main__":
    main(*(Path(a) for a in sys.argv[1:4]))
