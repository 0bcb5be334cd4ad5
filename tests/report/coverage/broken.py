# ruff: noqa: E501 - graphs read best with a node on one line
"""Quantized groups that break one rule of fusion each, and the same with the remedy applied."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from tests.passes.golden import parse

_CONSTANTS = """float s = {0.1}, float t = {0.2}, float s1 = {0.1}, float[4] ss = {0.1, 0.2, 0.1, 0.2},
    uint8 z = {10}, uint8 z0 = {0}, uint8[4] zz = {0, 0, 0, 0}, int8 i = {0}, int8 lowest = {-128},
    uint16 u16 = {9}, int16 i16 = {0}, float lo = {0}, float hi = {6}, float far = {51},
    int8[4,4,1,1] w, uint8[4,4,1,1] wu, int16[4,4,1,1] w16, float[4,4,1,1] wf,
    int8[4,4] m, float[4,4] mf, int16[4,4] m16,
    float[4] ws = {0.01, 0.08, 0.01, 0.04}, int8[4] wz = {0, 0, 0, 0},
    float[4] bs = {0.001, 0.008, 0.001, 0.004}, float[4] b1 = {0.1, 0.1, 0.1, 0.1},
    int32[4] b = {90, 80, -70, 60}, int32[4] bz = {0, 0, 0, 0}, int32[4] b9 = {9, 9, 9, 9},
    int8[4] b8, float[4,2,1,1] wb, int8[4,2,1,1] zb, float[4] bf, float[4,1,1] kf, int8[4,1,1] k8, uint8[4,1,1] ku, float[4] u = {1, 1, 2, 2},
    uint8 own = {10}, int64[8] wide = {0, 1, 0, 0, 0, 1, 0, 0}, int64[8] many = {1, 0, 0, 0, 0, 0, 0, 0}, float half = {0.5}"""

IMAGE, MATRIX = "float[1,4,6,6]", "float[4,4]"


def group(
    op: str,
    *,
    kind: str = IMAGE,
    out: str = "",
    x: str = "s, z",
    y: str = "t, z",
    before: str = "",
    after: str = "",
    mid: str = "",
    inputs: str = "",
    outputs: str = "",
    attributes: str = "",
    opset: int = 13,
) -> onnx.ModelProto:
    """x, quantized with the parameters *x*, goes into *op*, whose result is quantized with *y*.

    In *op*, ``xd`` is the dequantized input; *mid* leads from ``a0`` to ``a``, *before* defines
    what else *op* reads, *after* reads ``a`` or ``y``. ``y=""``: the result stays in float.
    """
    out = out or kind
    end = (
        f"[q1] aq = QuantizeLinear{attributes} (a, {y}) [d1] y = DequantizeLinear{attributes} (aq, {y})"
        if y
        else "[end] y = Neg (a)"
    )
    text = f"""g ({kind} x{inputs}) => ({out} y{outputs}) <{_CONSTANTS}> {{ {before}
        [q0] xq = QuantizeLinear{attributes} (x, {x}) [d0] xd = DequantizeLinear{attributes} (xq, {x})
        [node] a{"0" if mid else ""} = {op} {mid} {end} {after} }}"""
    return filled(text, opset)


def conv(weight: str = "<axis = 0> (w, ws, wz)", bias: str = "", **rest: Any) -> onnx.ModelProto:
    """A convolution with the dequantized *weight* and *bias*."""
    before = f"wd = DequantizeLinear {weight} " + rest.pop("before", "")
    before += f" bd = DequantizeLinear {bias}" if bias else ""
    return group(f"Conv (xd, wd{', bd' if bias else ''})", before=before, **rest)


def matrix(
    op: str = "MatMul", weight: str = "(m, s, i)", bias: str = "", **rest: Any
) -> onnx.ModelProto:
    """A product of matrices with the dequantized *weight* and *bias*."""
    before = f"wd = DequantizeLinear {weight} " + rest.pop("before", "")
    before += f" bd = DequantizeLinear {bias}" if bias else ""
    name, _, attributes = op.partition(" ")
    call = f"{name} {attributes} (xd, wd{', bd' if bias else ''})"
    return group(call, kind=MATRIX, before=before, **rest)


def filled(text: str, opset: int = 13) -> onnx.ModelProto:
    """The model of *text* with weights that use their range, without constants that none reads."""
    codes = np.random.default_rng(0).integers(-90, 91, (4, 4)).astype(np.int8)
    weights = {"w": codes.reshape(4, 4, 1, 1), "m": codes}
    model = parse(text, weights, opset=opset, ir=10 if opset > 20 else 8)
    used = {name for node in model.graph.node for name in node.input}
    kept = [t for t in model.graph.initializer if t.name in used]
    del model.graph.initializer[:], model.graph.value_info[:]
    model.graph.initializer.extend(kept)
    return model


_BIAS, _COLUMNS = "<axis = 0> (b, bs, bz)", "<axis = 1> (m, ws, wz)"
_READ = {"after": "[neg] n = Neg (a)", "outputs": f", {IMAGE} n"}
READ_X = {"after": "[neg] n = Neg (xd)", "outputs": f", {IMAGE} n"}
_POOL, _SAME = "MaxPool <kernel_shape = [1,1]> (xd)", {"x": "s, z", "y": "s, z"}
_UP = {"out": "float[1,4,12,12]", "x": "s, z", "y": "s, z"}
_COMPUTED = {"before": "sc = Abs (sx)", "inputs": ", float sx"}
_SECOND = "[q2] aq2 = QuantizeLinear (a, s, z) [d2] n = DequantizeLinear (aq2, s, z)"
_CHANNELS = {"x": "ss, zz", "y": "ss, zz", "attributes": " <axis = 1>"}


def relu(op: str = "Relu (a0)", **rest: Any) -> onnx.ModelProto:
    """A convolution and what limits its result."""
    return conv(mid=f"[clamp] a = {op}", **rest)


def split(first: str, second: str) -> onnx.ModelProto:
    """A Split whose outputs are quantized with these parameters."""
    text = f"""g (float[4,4] x) => (float[2,4] y, float[2,4] n) <{_CONSTANTS}> {{
        xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)  [node] a, c = Split (xd)
        aq = QuantizeLinear (a, {first})  y = DequantizeLinear (aq, {first})
        cq = QuantizeLinear (c, {second})  n = DequantizeLinear (cq, {second}) }}"""
    return filled(text)


def indices(op: str) -> onnx.ModelProto:
    """A MaxPool whose second output is an output of the model."""
    model = group(op, **_SAME)
    next(n for n in model.graph.node if n.name == "node").output.append("where")
    where = onnx.helper.make_tensor_value_info("where", onnx.TensorProto.INT64, [1, 4, 6, 6])
    model.graph.output.append(where)
    return model


def half() -> onnx.ModelProto:
    """A convolution in float16."""
    text = """g (float16[1,4,6,6] x) => (float16[1,4,6,6] y)
        <float16 s, uint8 z = {10}, int8 i = {0}, int8[4,4,1,1] w> {
        xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
        wd = DequantizeLinear (w, s, i)  [node] a = Conv (xd, wd)
        aq = QuantizeLinear (a, s, z)  y = DequantizeLinear (aq, s, z) }"""
    return parse(text, {"s": np.array(0.1, np.float16)}, opset=21, ir=10)


def plus(bias: str, last: str) -> onnx.ModelProto:
    """MatMul and Add, of which ONNX Runtime makes a Gemm before it looks for integer kernels."""
    text = f"""g (float[4,4] x) => (float[4,4] y) <{_CONSTANTS}> {{ {bias}
        xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
        wd = DequantizeLinear {_COLUMNS}  [node] a = MatMul (xd, wd)  [add] y = Add (a, {last}) }}"""
    return filled(text)


#: A rule, a model that breaks it, and the model that the remedy makes of it; None where the remedy
#: is to keep the node in float.
BROKEN: list[tuple[str, onnx.ModelProto, onnx.ModelProto | None]] = [
    ("operator", group("Tanh (xd)"), None),
    ("operator", group("Relu (xd)"), None),
    ("operator", group("Sub (xd, xd)"), None),
    ("operator", group("ReduceMean <axes = [1]> (xd)", out="float[1,1,6,6]"), None),
    ("operator", group("ConvTranspose (xd, wd)", before="wd = DequantizeLinear (w, s, i)"), None),
    ("opset", group(_POOL, opset=11, **_SAME), group(_POOL, opset=13, **_SAME)),
    ("mode", group('Resize <mode = "linear"> (xd, , u)', **_UP), group("Resize (xd, , u)", **_UP)),
    ("second-output", indices(_POOL), group(_POOL, **_SAME)),
    ("gemm", plus("", "bf"), plus("bd = DequantizeLinear <axis = 0> (b, bs, bz)", "bd")),
    ("float16", half(), conv(opset=21)),
    ("bits", conv(x="s, u16", y="t, u16", opset=21), conv(x="s, z", y="t, z", opset=21)),
    ("bits", conv("(w16, s, i16)", opset=21), conv(opset=21)),
    ("bits", group("Add (xd, xd)", x="s, u16", y="t, u16", opset=21), group("Add (xd, xd)")),
    ("bits", group(_POOL, x="s, u16", y="s, u16", opset=21), group(_POOL, **_SAME)),
    ("bits", matrix(weight="(m16, s, i16)", opset=21), matrix(opset=21)),
    ("input-float", group("Conv (x, wd)", before="wd = DequantizeLinear (w, s, i)"), conv()),
    ("input-float", group("Conv (xd, wi)", inputs=", float[4,4,1,1] wi"), conv()),
    (
        "input-float",
        group("Add (xd, kf)"),
        group("Add (xd, kd)", before="kd = DequantizeLinear (ku, s, z)"),
    ),
    ("input-float", group("MatMul (xd, mf)", kind=MATRIX), matrix()),
    (
        "input-float",
        group("Concat <axis = 0> (xd, x)", out="float[2,4,6,6]"),
        group("Concat <axis = 0> (xd, xd)", out="float[2,4,6,6]"),
    ),
    ("weight-float", group("Gemm (xd, mf)", kind=MATRIX, y=""), matrix("Gemm", y="")),
    (
        "weight-float",
        group("Conv (xd, wf, bd)", before=f"bd = DequantizeLinear {_BIAS}"),
        conv(bias=_BIAS),
    ),
    ("output-float", conv(y=""), conv()),
    (
        "output-float",
        group("Conv (xd, wd)", before="wd = DequantizeLinear (w, s, i)", mid="[t] a = Tanh (a0)"),
        conv(),
    ),
    ("output-of-model", conv(outputs=f", {IMAGE} a"), conv()),
    ("output-of-model", matrix(outputs=f", {MATRIX} a"), matrix()),
    ("consumers", conv(**_READ), conv(after="[neg] n = Neg (y)", outputs=f", {IMAGE} n")),
    (
        "consumers",
        relu(y="t, z0", after="[neg] n = Neg (a0)", outputs=f", {IMAGE} n"),
        relu(y="t, z0", after="[neg] n = Neg (y)", outputs=f", {IMAGE} n"),
    ),
    (
        "quantized-twice",
        conv(after=_SECOND, outputs=f", {IMAGE} n"),
        conv(after="[neg] n = Neg (y)", outputs=f", {IMAGE} n"),
    ),
    ("clamp", relu(), relu(y="t, z0")),
    ("clamp", relu(x="s, i", y="t, i"), relu(x="s, i", y="t, lowest")),
    ("clamp", relu("Clip (a0, lo, hi)", y="t, z0"), relu("Clip (a0, lo, far)", y="t, z0")),
    (
        "clamp",
        relu("Clip (a0, lc)", y="t, z0", before="lc = Abs (l)", inputs=", float l"),
        relu("Clip (a0, lo)", y="t, z0"),
    ),
    ("clamp", relu(y="ss, zz", attributes=" <axis = 1>", x="ss, zz"), relu(y="t, z0")),
    ("int8-on-x86", conv(x="s, i", y="t, i", **READ_X), conv(**READ_X)),
    (
        "int8-on-x86",
        matrix(x="s, i", y="t, i", after="[neg] n = Neg (xd)", outputs=f", {MATRIX} n"),
        matrix(after="[neg] n = Neg (xd)", outputs=f", {MATRIX} n"),
    ),
    ("types", group("Sigmoid (xd)", x="s, i", **READ_X), group("Sigmoid (xd)", **READ_X)),
    (
        "types",
        conv(y="t, i", after="[neg] n = Neg (y)", outputs=f", {IMAGE} n"),
        conv(after="[neg] n = Neg (y)", outputs=f", {IMAGE} n"),
    ),
    (
        "types",
        group("Add (xd, kd)", before="kd = DequantizeLinear (k8, s, i)"),
        group("Add (xd, kd)", before="kd = DequantizeLinear (ku, s, z)"),
    ),
    (
        "types",
        matrix("Gemm", x="s, i", after="[neg] n = Neg (xd)", outputs=f", {MATRIX} n"),
        matrix("Gemm", after="[neg] n = Neg (xd)", outputs=f", {MATRIX} n"),
    ),
    ("zero-point", matrix("Gemm", "(m, s)"), matrix("Gemm", "(m, s, i)")),
    ("zero-point", matrix("Gemm", x="s"), matrix("Gemm", x="s, z0")),
    ("zero-point", group(_POOL, x="s", y="s"), group(_POOL, x="s, z0", y="s, z0")),
    (
        "zero-point",
        group("Transpose (xd)", kind=MATRIX, x="s", y="s"),
        group("Transpose (xd)", kind=MATRIX, x="s, z0", y="s, z0"),
    ),
    ("parameters", group(_POOL), group(_POOL, **_SAME)),
    (
        "parameters",
        group("Transpose (xd)", kind=MATRIX),
        group("Transpose (xd)", kind=MATRIX, **_SAME),
    ),
    ("parameters", split("s, z", "t, z"), split("s, z", "s, z")),
    (
        "scale-computed",
        group("Transpose (xd)", kind=MATRIX, x="sc, z", y="sc, z", **_COMPUTED),
        group("Transpose (xd)", kind=MATRIX, **_SAME),
    ),
    ("scale-computed", conv(bias=_BIAS, x="sc, z", **_COMPUTED), conv(bias=_BIAS)),
    ("scale-per-channel", conv(bias=_BIAS, **_CHANNELS), conv(bias=_BIAS)),
    ("scale-per-channel", matrix("Gemm", **_CHANNELS), matrix("Gemm")),
    (
        "bias-float",
        group("Gemm (xd, wd, bf)", kind=MATRIX, y="", before=f"wd = DequantizeLinear {_COLUMNS}"),
        matrix("Gemm", _COLUMNS, _BIAS, y=""),
    ),
    ("bias-type", conv(bias="(b8, s, i)"), conv(bias=_BIAS)),
    ("bias-type", matrix("Gemm", _COLUMNS, "(b8, s, i)"), matrix("Gemm", _COLUMNS, _BIAS)),
    ("bias-scale", conv(bias="<axis = 0> (b, b1, bz)"), conv(bias=_BIAS)),
    ("bias-zero-point", conv(bias="<axis = 0> (b, bs, b9)"), conv(bias=_BIAS)),
    ("alpha-beta", matrix("Gemm <alpha = 0.5>", _COLUMNS, _BIAS), matrix("Gemm", _COLUMNS, _BIAS)),
]

#: A hazard, a model that has it, and the model that the remedy makes of it.
HAZARDOUS: list[tuple[str, onnx.ModelProto, onnx.ModelProto]] = [
    ("activation-scales", conv(**_CHANNELS), conv()),
    ("activation-scales", matrix(**{**_CHANNELS, "y": "t, z"}), matrix()),
    ("weight-axis", conv("<axis = 1> (w, ws, wz)"), conv("<axis = 0> (w, ws, wz)")),
    ("weight-axis", matrix(weight="<axis = 0> (m, ws, wz)"), matrix(weight=_COLUMNS)),
    ("weight-axis", matrix("Gemm", "<axis = 0> (m, ws, wz)"), matrix("Gemm", _COLUMNS)),
    (
        "weight-axis",
        matrix("Gemm <transB = 1>", _COLUMNS),
        matrix("Gemm <transB = 1>", "<axis = 0> (m, ws, wz)"),
    ),
    (
        "gemm-bias-scale",
        matrix("Gemm", _COLUMNS, "<axis = 0> (b, b1, bz)"),
        matrix("Gemm", _COLUMNS, _BIAS),
    ),
]
