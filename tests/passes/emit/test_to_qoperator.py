# ruff: noqa: E501 - graphs read best with a node on one line
"""Operators on codes: the graphs, and the same codes as between Q and DQ."""

from __future__ import annotations

from collections import Counter

import ml_dtypes
import numpy as np
import onnx
import pytest

from onnxq.errors import OptionError
from onnxq.graph import Model
from onnxq.integer import encode, lower
from onnxq.integer import run as integers
from onnxq.passes.emit.to_qoperator import ToQoperator
from onnxq.report.qdq_form import qdq_form
from onnxq.runtime.session import Session
from onnxq.runtime.taps import tap_arrays
from tests.integer.networks import NETWORKS, build
from tests.passes.golden import apply, check, outputs, parse

PARTS = """<float xs = {0.05}, uint8 xz = {120}, float ys = {0.1}, uint8 yz = {10}, float zs = {0.2},
     int8[2,3,1,1] w, float[2] ws = {0.01, 0.02}, int8[2] wz = {0, 0},
     int32[2] b = {100, -900}, float[2] bs = {0.0005, 0.001}, int32[2] bz = {0, 0}"""
QDQ = f"""g (float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z)
    {PARTS}>
    {{ [in] xq = QuantizeLinear (x, xs, xz)  [out] xd = DequantizeLinear (xq, xs, xz)
      [dw] wd = DequantizeLinear <axis = 0> (w, ws, wz)
      [db] bd = DequantizeLinear <axis = 0> (b, bs, bz)
      [conv] a = Conv (xd, wd, bd)  [relu] r = Relu (a)
      [q] q = QuantizeLinear (r, ys, yz)  [d] y = DequantizeLinear (q, ys, yz)
      [add] s = Add (y, y)  [qs] t = QuantizeLinear (s, zs, yz)  [ds] z = DequantizeLinear (t, zs, yz) }}"""
CONV = "c = QLinearConv (xq, xs, xz, w, ws, wz, ys, yz, b)  q = Clip (c, low, high)"


def test_operators_of_both_domains() -> None:
    check(
        ToQoperator(),
        QDQ,
        f"""<ir_version: 8, opset_import: ["" : 13, "com.microsoft" : 1]>
        g (float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z)
        {PARTS}, uint8 low = {{10}}, uint8 high = {{255}}>
        {{ xq = QuantizeLinear (x, xs, xz) {CONV} y = DequantizeLinear (q, ys, yz)
          t = com.microsoft.QLinearAdd (q, ys, yz, q, ys, yz, zs, yz)
          z = DequantizeLinear (t, zs, yz) }}""",
        tolerance=1e-6,
    )


def test_standard_operators_alone() -> None:
    check(
        ToQoperator(domains="standard"),
        QDQ,
        f"""g (float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z)
        {PARTS}, uint8 low = {{10}}, uint8 high = {{255}}>
        {{ xq = QuantizeLinear (x, xs, xz) {CONV} y = DequantizeLinear (q, ys, yz)
          s = Add (y, y)  t = QuantizeLinear (s, zs, yz)  z = DequantizeLinear (t, zs, yz) }}""",
        declines=[("add", "ONNX has no operator on codes for Add")],
        tolerance=1e-6,
    )


def test_what_is_read_in_float_as_well_stays() -> None:
    before = QDQ.replace("(float[1,2,4,4] y, ", "(float[1,2,4,4] a, float[1,2,4,4] y, ")
    check(
        ToQoperator(domains="standard"),
        before,
        declines=[("conv", "read in float as well"), ("add", "com.microsoft has one")],
    )


@pytest.mark.parametrize("domains", ["microsoft", "standard"])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_same_codes(name: str, domains: str) -> None:
    """On codes that both models name, for every network of the integer reference."""
    proto = build(name, "nearest-even")
    found, ctx = apply(ToQoperator(domains=domains), proto)
    stored = {t.name for t in found.graph.initializer}
    real = {n.output[0] for n in found.graph.node
            if n.op_type == "DequantizeLinear" and n.input[0] not in stored}  # fmt: skip
    assert {d.node for d in ctx.journal.declines} == {
        n.name for n in found.graph.node if n.op_type != "QuantizeLinear" and real & {*n.input}
    }
    rng = np.random.default_rng(3)
    feed = {
        i.name: rng.normal(0, 4, [2, *(d.dim_value for d in i.type.tensor_type.shape.dim[1:])])
        .astype(np.float32)
        for i in proto.graph.input
    }  # fmt: skip
    names = {o for n in found.graph.node for o in n.output}
    codes = [n.output[0] for n in proto.graph.node if n.op_type == "QuantizeLinear"]
    codes = [c for c in codes if c in names]
    runs = [Session(tap_arrays(m, codes), optimize=False).run(feed) for m in (proto, found)]
    for key, one in runs[0].items():
        two = runs[1][key]
        assert one.dtype == two.dtype and one.shape == two.shape
        if one.dtype.kind == "f":
            np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-5)
        else:
            apart = np.abs(one.astype(int) - two.astype(int))
            # averages and tables of ONNX Runtime break ties in their own way
            assert apart.max() <= 1 and (apart > 0).mean() <= 0.1, key
    results = []
    for program in (lower(Model.load(proto)), lower(qdq_form(Model.load(found)))):
        codes = {v: encode(program.values[v], feed[n]) for n, v in program.inputs.items()}
        values = integers(program, codes)
        results.append([values[v] for v in program.outputs.values()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


GEMM = """g (float[2,3] x) => (float[2,4] y)
    <float xs = {0.05}, uint8 xz = {120}, float ys = {0.5}, uint8 yz = {100}, int8[3,4] w, float ws = {0.01},
     int8 wz = {0}, int32[4] b = {100, -900, 50, 4}, float bs = {0.0005}, int32 bz = {0}>
    { [in] xq = QuantizeLinear (x, xs, xz)  [out] xd = DequantizeLinear (xq, xs, xz)
      [dw] wd = DequantizeLinear (w, ws, wz)  [db] bd = DequantizeLinear (b, bs, bz)
      [gemm] a = Gemm (xd, wd, bd) TAIL }"""
TAIL = "[q] q = QuantizeLinear (a, ys, yz)  [d] y = DequantizeLinear (q, ys, yz)"


@pytest.mark.parametrize(
    ("domains", "text", "wanted"),
    [
        ("microsoft", GEMM.replace("TAIL", TAIL), "QuantizeLinear QGemm DequantizeLinear"),
        ("standard", GEMM.replace("TAIL", TAIL),
         "QuantizeLinear Unsqueeze QLinearConv Squeeze DequantizeLinear"),
        ("standard", GEMM.replace("TAIL", TAIL).replace("(xd, wd, bd)", "(xd, wd)"),
         "QuantizeLinear QLinearMatMul DequantizeLinear"),
        ("microsoft", GEMM.replace("TAIL", "y = Identity (a)"), "QuantizeLinear QGemm Identity"),
        ("microsoft", GEMM.replace("TAIL", "y = Add (a, bd)").replace("Gemm (xd, wd, bd)", "MatMul (xd, wd)"),
         "QuantizeLinear MatMulIntegerToFloat"),
    ],
)  # fmt: skip
def test_products(domains: str, text: str, wanted: str) -> None:
    proto = parse(text)
    found, ctx = apply(ToQoperator(domains=domains), proto)
    assert Counter(n.op_type for n in found.graph.node) == Counter(wanted.split())
    assert not ctx.journal.declines
    x = np.random.default_rng(0).normal(0, 4, (2, 3)).astype(np.float32)
    (one,), (two,) = outputs(proto, {"x": x}), outputs(found, {"x": x})
    np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-5)
    form = qdq_form(Model.load(found)).to_proto()
    np.testing.assert_allclose(outputs(form, {"x": x})[0], one, rtol=1e-5, atol=1e-5)


def test_narrow_weights_are_stored_in_bytes() -> None:
    text = GEMM.replace("TAIL", TAIL).replace("int8[3,4] w, ", "")
    text = text.replace("float ws", "int4[3,4] w, float ws").replace("int8 wz = {0}", "int4 wz")
    codes = np.arange(-6, 6).reshape(3, 4).astype(ml_dtypes.int4)
    given = {"w": codes, "wz": np.zeros((), ml_dtypes.int4)}
    proto = parse(text, given, opset=21, ir=10)
    found, _ = apply(ToQoperator(), proto)
    stored = {t.name: onnx.TensorProto.DataType.Name(t.data_type) for t in found.graph.initializer}
    assert "INT4" not in stored.values() and stored["w__int8"] == "INT8"
    x = np.random.default_rng(0).normal(0, 4, (2, 3)).astype(np.float32)
    np.testing.assert_allclose(outputs(found, {"x": x})[0], outputs(proto, {"x": x})[0])


def test_refusal() -> None:
    with pytest.raises(OptionError, match="no domains 'all'"):
        ToQoperator(domains="all")
