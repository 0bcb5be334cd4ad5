"""Weights that become floats by Cast and Mul are read as what they are."""

from __future__ import annotations

import numpy as np
import pytest

import onnxq
from onnxq.graph import Model
from onnxq.report.pair import is_quantized
from onnxq.report.qdq_form import qdq_form
from tests.passes.golden import outputs, parse

ROWS = """g (float[2,8] x) => (float[2,4] y) <int8[8,4] q, float[1,4] s>
    { f = Cast <to = 1> (q)  w = Mul (f, s)  y = MatMul (x, w) }"""
BLOCKS = """g (float[2,8] x) => (float[2,4] y)
    <uint8[2,4,4] q, float[2,1,4] s, uint8[2,1,4] z, int64[2] shape = {8, 4}>
    { f = Cast <to = 1> (q)  zf = Cast <to = 1> (z)  d = Sub (f, zf)  p = Mul (d, s)
      w = Reshape (p, shape)  y = MatMul (x, w) }"""
VALUES = {
    "q": np.arange(32), "s": np.linspace(0.1, 0.9, 4, dtype=np.float32),
    "z": np.full((2, 1, 4), 3, np.uint8),
}  # fmt: skip


@pytest.mark.parametrize(("text", "opset"), [(ROWS, 13), (BLOCKS, 21)])
def test_they_are_dequantize_linear(text: str, opset: int) -> None:
    rows = text == ROWS
    given = {
        "q": VALUES["q"].reshape((8, 4) if rows else (2, 4, 4)).astype("int8" if rows else "uint8"),
        "s": np.broadcast_to(VALUES["s"], (1, 4) if rows else (2, 1, 4)).copy(),
    } | ({} if rows else {"z": VALUES["z"]})  # fmt: skip
    proto = parse(text, given, opset=opset)
    model = Model.load(proto)
    assert is_quantized(model)
    form = qdq_form(model).to_proto()
    left = [n.op_type for n in form.graph.node if n.op_type not in ("Cast", "Sub")]  # read by none
    assert left == ["DequantizeLinear", "MatMul"], "a Reshape that joins blocks is gone too"
    feed = {"x": np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)}
    np.testing.assert_allclose(outputs(form, feed)[0], outputs(proto, feed)[0], rtol=1e-5)


def test_other_products_stay() -> None:
    text = """g (float[2,8] x) => (float[2,4] y) <float[8,4] q, float[1,4] s>
        { w = Mul (q, s)  y = MatMul (x, w) }"""
    model = Model.load(parse(text))
    assert not is_quantized(model)
    assert [n.op for n in qdq_form(model).nodes()] == ["Mul", "MatMul"]


@pytest.mark.parametrize("options", ["", ",asymmetric"])
def test_products_of_the_runtime_are_dequantize_linear_too(options: str) -> None:
    text = "g (float[2,80] x) => (float[2,8] y) <float[80,8] w> { [mm] y = MatMul (x, w) }"
    model = onnxq.quantize(
        parse(text, opset=17), mode="weights", weights="int4", block=32, domains="microsoft",
        asymmetric=bool(options), target="x86",
    ).model  # fmt: skip
    assert [n.op for n in model.nodes()] == ["MatMulNBits"]
    form = qdq_form(model).to_proto()
    assert [n.op_type for n in form.graph.node] == ["DequantizeLinear", "MatMul"]
    feed = {"x": np.random.default_rng(0).normal(size=(2, 80)).astype(np.float32)}
    one, two = outputs(form, feed)[0], outputs(model.to_proto(), feed)[0]
    np.testing.assert_allclose(one, two, atol=0.02 * np.abs(one).max())
