"""Each operator on codes and its QDQ form compute the same codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model
from onnxq.report.qdq_form import qdq_form
from onnxq.runtime.session import Session
from tests.report.foreign import by_onnxruntime, float_model, samples

RNG = np.random.default_rng(0)
X, Y = (0.05, 120), (0.04, 130)
W = RNG.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8)
B = RNG.integers(-500, 500, 6).astype(np.int32)
CHANNELS = np.linspace(0.002, 0.01, 6).astype(np.float32)


def model(
    op: str,
    inputs: list[Any],
    shapes: list[tuple[int, ...]],
    *,
    opset: int = 13,
    domain: str = "",
    out: int = TensorProto.UINT8,
    flat: int = 0,
    **attrs: Any,
) -> onnx.ModelProto:
    """One node; a str among *inputs* is a graph input or omitted (""), the rest are constants."""
    names, constants = [], []
    for i, value in enumerate(inputs):
        if isinstance(value, str):
            names.append(value)
        else:
            names.append(f"c{i}")
            constants.append(numpy_helper.from_array(np.asarray(value), f"c{i}"))
    given = [n for n in names if n.startswith("x")]
    node = helper.make_node(op, names, ["y"], name="node", domain=domain, **attrs)
    if flat:  # the operator has an attribute of that name
        node.attribute.append(helper.make_attribute("opset", flat))
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(n, TensorProto.UINT8, s)
            for n, s in zip(given, shapes, strict=True)
        ],
        [onnx.ValueInfoProto(name="y")],
        constants,
    )
    graph.output[0].type.tensor_type.elem_type = out
    rank = 2 if op in ("QLinearMatMul", "QGemm", "QLinearSoftmax") else 4
    for axis in range(rank):
        graph.output[0].type.tensor_type.shape.dim.add().dim_param = f"d{axis}"
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def grid(pair: tuple[float, int]) -> tuple[np.float32, np.uint8]:
    return np.float32(pair[0]), np.uint8(pair[1])


MS = {"domain": "com.microsoft"}
IMAGE = (1, 4, 7, 7)
CASES: dict[str, tuple[str, list[Any], list[tuple[int, ...]], dict[str, Any]]] = {
    "conv": (
        "QLinearConv", ["x", *grid(X), W, np.float32(0.004), np.int8(3), *grid(Y), B], [IMAGE],
        {"pads": [1, 1, 1, 1], "strides": [2, 2]},
    ),
    "conv of channels": (
        "QLinearConv", ["x", *grid(X), W, CHANNELS, np.zeros(6, np.int8), *grid(Y), B], [IMAGE], {},
    ),
    "conv at opset 11": (
        "QLinearConv", ["x", *grid(X), W, CHANNELS, np.zeros(6, np.int8), *grid(Y)], [IMAGE],
        {"opset": 11},
    ),
    "grid in one-element vectors": (
        "QLinearConv",
        ["x", np.full(1, 0.05, np.float32), np.full(1, 120, np.uint8), W, np.float32(0.004),
         np.int8(0), *grid(Y), B],
        [IMAGE], {},
    ),
    "matmul": (
        "QLinearMatMul",
        ["x", *grid(X), W.reshape(-1, 6), CHANNELS, np.zeros(6, np.int8), *grid(Y)], [(5, 36)], {},
    ),
    "matmul of activations": (
        "QLinearMatMul", ["xa", *grid(X), "xb", *grid(Y), np.float32(0.5), np.uint8(90)],
        [(5, 8), (8, 6)], {},
    ),
    "gemm": (
        "QGemm",
        ["x", *grid(X), W.reshape(6, -1), CHANNELS, np.zeros(6, np.int8), B, *grid(Y)], [(5, 36)],
        {"transB": 1, "alpha": 0.5, **MS},
    ),
    "gemm to floats": (
        "QGemm", ["x", *grid(X), W.reshape(-1, 6), np.float32(0.004), np.int8(0), B], [(5, 36)],
        {"out": TensorProto.FLOAT, **MS},
    ),
    "add": ("QLinearAdd", ["xa", *grid(X), "xb", *grid(Y), *grid((0.1, 100))], [IMAGE, IMAGE], MS),
    "mul": ("QLinearMul", ["xa", *grid(X), "xb", *grid(Y), *grid((0.2, 100))], [IMAGE, IMAGE], MS),
    "sigmoid": ("QLinearSigmoid", ["x", *grid(X), *grid((1 / 256, 0))], [IMAGE], MS),
    "leaky": ("QLinearLeakyRelu", ["x", *grid(X), *grid(Y)], [IMAGE], {"alpha": 0.2, **MS}),
    "average": (
        "QLinearAveragePool", ["x", *grid(X), *grid(Y)], [IMAGE],
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], **MS},
    ),
    "global": ("QLinearGlobalAveragePool", ["x", *grid(X), *grid(Y)], [IMAGE], MS),
    "softmax": (
        "QLinearSoftmax", ["x", *grid(X), *grid((1 / 256, 0))], [(3, 9)],
        {"axis": -1, "flat": 13, **MS},
    ),
    "concat": ("QLinearConcat", [*grid(Y), "xa", *grid(X), "xb", *grid(Y)], [IMAGE, IMAGE],
               {"axis": 1, **MS}),
    "where": (
        "QLinearWhere", [np.arange(7) % 2 == 0, "xa", *grid(X), "xb", *grid(Y), *grid(Y)],
        [IMAGE, IMAGE], MS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_same_codes(case: str) -> None:
    op, inputs, shapes, options = CASES[case]
    proto = model(op, inputs, shapes, **options)
    form = qdq_form(Model.load(proto))
    ops = [n.op for n in form.graph.nodes]
    assert op not in ops
    assert "DequantizeLinear" in ops
    (node,) = (n for n in form.graph.nodes if n.name == "node")
    assert node.op not in ("QuantizeLinear", "DequantizeLinear")
    onnx.checker.check_model(form.to_proto(), full_check=True)
    feed = {
        i.name: RNG.integers(0, 256, [d.dim_value for d in i.type.tensor_type.shape.dim]).astype(
            np.uint8
        )
        for i in proto.graph.input
    }
    one = Session(proto).run(feed)["y"]
    two = Session(form.to_proto(), optimize=False).run(feed)["y"]
    assert one.dtype == two.dtype
    assert one.std() > 0
    if one.dtype == np.float32:
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-4)
        return
    apart = np.abs(one.astype(int) - two)
    # ONNX Runtime looks Sigmoid and LeakyRelu up in tables, and rounds ties of means upwards
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 0.05


def test_whole_network_gives_the_same_outputs(tmp_path) -> None:
    name = "digits_mobilenet"
    feeds = samples(name, 32, evaluation=False)
    proto = by_onnxruntime(float_model(name), feeds, tmp_path, "qoperator")
    form = qdq_form(Model.load(proto))
    assert not any(n.op.startswith("QLinear") for n in form.graph.nodes)
    assert any(n.op_type.startswith("QLinear") for n in proto.graph.node)
    sessions = Session(proto), Session(form.to_proto())
    for feed in feeds[:4]:
        one, two = (s.run(feed)["logits"] for s in sessions)
        np.testing.assert_array_equal(one, two)


def test_the_given_model_stays_as_it_is(tmp_path) -> None:
    op, inputs, shapes, options = CASES["conv"]
    given = Model.load(model(op, inputs, shapes, **options))
    before = given.to_proto().SerializeToString()
    qdq_form(given)
    assert given.to_proto().SerializeToString() == before


def test_channels_last_is_refused() -> None:
    inputs = ["x", *grid(X), *grid(Y)]
    proto = model("QLinearGlobalAveragePool", inputs, [(1, 7, 7, 4)], channels_last=1, **MS)
    with pytest.raises(UnsupportedModelError, match=r"'node' .* has its channels last"):
        qdq_form(Model.load(proto))


def test_softmax_over_several_dimensions_is_refused() -> None:
    inputs = ["x", *grid(X), *grid((1 / 256, 0))]
    proto = model("QLinearSoftmax", inputs, [IMAGE], axis=1, flat=11, **MS)
    with pytest.raises(UnsupportedModelError, match="several dimensions"):
        qdq_form(Model.load(proto))
