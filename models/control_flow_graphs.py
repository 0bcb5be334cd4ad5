"""A Loop, a Scan and an If with layers inside, random weights: ``python control_flow_graphs.py``.

Some weights are stored inside the bodies, as initializers and as Constant nodes, and some outside,
captured. Each graph reads values of the graph around it, too. What they compute means nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

WIDTH = 32
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class Weights:
    """Random weights with a seed of their own."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def array(self, *shape: int, gain: float = 1.0) -> np.ndarray:
        size = gain / np.sqrt(np.prod(shape[1:]) if len(shape) > 2 else shape[0])
        return self.random.normal(0, size, shape).astype(np.float32)

    def tensor(self, name: str, *shape: int, gain: float = 1.0) -> TensorProto:
        return numpy_helper.from_array(self.array(*shape, gain=gain), name)

    def constant(self, name: str, *shape: int) -> NodeProto:
        return helper.make_node("Constant", [], [name], f"{name}_node",
                                value=numpy_helper.from_array(self.array(*shape)))  # fmt: skip


def node(op: str, inputs: list[str], output: str, **attributes: object) -> NodeProto:
    return helper.make_node(op, inputs, [output], f"{output}_node", **attributes)


def value(name: str, kind: int = FLOAT, shape: list[int | str] | None = None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["N", WIDTH] if shape is None else shape)


def loop() -> onnx.ModelProto:
    """A layer that is applied *steps* times, its result growing; every step's mean is kept."""
    w = Weights(1)
    body = helper.make_graph(
        [
            w.constant("inside", WIDTH, WIDTH),
            node("MatMul", ["h", "outside"], "wide"),
            node("Relu", ["wide"], "kept"),
            node("MatMul", ["kept", "inside"], "narrow"),
            node("Add", ["narrow", "embedded"], "joined"),
            node("Add", ["joined", "h"], "next"),
            node("ReduceMean", ["next"], "mean", axes=[1], keepdims=0),
            node("Identity", ["going"], "on"),
        ],
        "body",
        [value("step", INT64, []), value("going", BOOL, []), value("h")],
        [value("on", BOOL, []), value("next"), value("mean", shape=["N"])],
    )
    nodes = [
        node("Gemm", ["x", "first"], "embedded"),
        helper.make_node("Loop", ["steps", "", "embedded"], ["last", "means"], "loop", body=body),
        node("MatMul", ["last", "head"], "y"),
    ]
    stored = [w.tensor("outside", WIDTH, WIDTH), w.tensor("first", WIDTH, WIDTH),
              w.tensor("head", WIDTH, 8)]  # fmt: skip
    inputs = [value("x"), value("steps", INT64, [])]
    outputs = [value("y", shape=["N", 8]), value("means", shape=["T", "N"])]
    return _model("loop", nodes, inputs, outputs, stored)


def scan() -> onnx.ModelProto:
    """A recurrent cell over a sequence [steps, batch, width], its weights inside and outside."""
    w = Weights(2)
    body = helper.make_graph(
        [
            node("MatMul", ["x_t", "inward"], "seen"),
            node("MatMul", ["state", "recurrent"], "remembered"),
            node("Add", ["seen", "remembered"], "both"),
            node("Add", ["both", "bias"], "moved"),
            node("Tanh", ["moved"], "state_after"),
            node("MatMul", ["state_after", "readout"], "read"),
            node("Relu", ["read"], "y_t"),
        ],
        "body",
        [value("state"), value("x_t")],
        [value("state_after"), value("y_t")],
        [w.tensor("recurrent", WIDTH, WIDTH, gain=0.5), w.tensor("bias", WIDTH)],
    )
    nodes = [
        helper.make_node("Scan", ["begin", "xs"], ["end", "ys"], "scan", body=body,
                         num_scan_inputs=1),
    ]  # fmt: skip
    stored = [w.tensor("inward", WIDTH, WIDTH), w.tensor("readout", WIDTH, WIDTH)]
    long: list[int | str] = ["T", "N", WIDTH]
    return _model("scan", nodes, [value("xs", shape=long), value("begin")],
                  [value("end"), value("ys", shape=long)], stored)  # fmt: skip


def branches() -> onnx.ModelProto:
    """Convolutions in one branch of an If, a product in the other; both read the same features."""
    w = Weights(3)
    shape: list[int | str] = ["N", 8, 6, 6]
    sharp = helper.make_graph(
        [
            node("Conv", ["features", "fine"], "detail", pads=[1, 1, 1, 1]),
            node("Relu", ["detail"], "edges"),
            node("Conv", ["edges", "shared"], "sharp", pads=[1, 1, 1, 1]),
        ],
        "sharp_branch", [], [value("sharp", shape=shape)], [w.tensor("fine", 8, 8, 3, 3)],
    )  # fmt: skip
    plain = helper.make_graph(
        [node("Conv", ["features", "shared"], "plain", pads=[1, 1, 1, 1])],
        "plain_branch", [], [value("plain", shape=shape)],
    )  # fmt: skip
    nodes = [
        node("Conv", ["image", "stem"], "raw", pads=[1, 1, 1, 1]),
        node("Relu", ["raw"], "features"),
        helper.make_node("If", ["exact"], ["chosen"], "if", then_branch=sharp, else_branch=plain),
        node("Conv", ["chosen", "last"], "y"),
    ]
    stored = [w.tensor("shared", 8, 8, 3, 3), w.tensor("stem", 8, 3, 3, 3),
              w.tensor("last", 4, 8, 1, 1)]  # fmt: skip
    inputs = [value("image", shape=["N", 3, 6, 6]), value("exact", BOOL, [])]
    return _model("branches", nodes, inputs, [value("y", shape=["N", 4, 6, 6])], stored)


def _model(
    name: str,
    nodes: list[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    stored: list[TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, name, inputs, outputs, stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "loop": loop, "scan": scan, "branches": branches,
}  # fmt: skip

if __name__ == "__main__":
    for title, make in NETWORKS.items():
        onnx.save(make(), Path(f"{title}.onnx"))
