"""Models that break one rule of a runtime each, and the same with the remedy applied."""

from __future__ import annotations

from typing import Any

import onnx

from tests.passes.golden import parse
from tests.report.coverage.broken import MATRIX, conv, group, matrix

BIAS = "<axis = 0> (b, bs, bz)"
CHANNELS: dict[str, Any] = {"x": "ss, zz", "y": "ss, zz", "attributes": " <axis = 1>"}
SIGNED: dict[str, Any] = {"x": "s, i", "y": "t, i"}


def pad(pads: str = "wide", y: str = "t, own", shape: str = "1,6,6,6") -> onnx.ModelProto:
    """A Pad between Q and DQ; ``x`` has the zero point ``z``."""
    return group(f"Pad (xd, {pads})", y=y, out=f"float[{shape}]")


def free_batch(proto: onnx.ModelProto) -> onnx.ModelProto:
    """*proto* with a free first dimension."""
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    return proto


def free() -> onnx.ModelProto:
    return parse("g (float[N,4] x) => (float[N,4] y) { [relu] y = Relu (x) }")


def custom() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13, "mine": 1]> g (float[1] x) => (float[1] y)'
        " { [node] y = mine.Special (x) }"
    )


def transposed(
    axis: int, op: str = "ConvTranspose (xd, wd)", weight: str = "", **rest: Any
) -> onnx.ModelProto:
    """A transposed convolution with scales along *axis* of its weight."""
    before = f"wd = DequantizeLinear {weight or f'<axis = {axis}> (w, ws, wz)'}"
    return group(op, before=before, **{**SIGNED, **rest})


def two(first: str, second: str) -> onnx.ModelProto:
    """A product of two activations with these parameters."""
    other = f"vq = QuantizeLinear (v, {second})  vd = DequantizeLinear (vq, {second})"
    return group("MatMul (xd, vd)", kind=MATRIX, x=first, before=other, inputs=f", {MATRIX} v")


COMPUTED: dict[str, Any] = {"before": "sc = Abs (sx)", "inputs": ", float sx"}
OLD = parse("g (float[4] x) => (float[4] y) { [relu] y = Relu (x) }", opset=8)
FLOAT = group("Conv (x, wf)", **SIGNED)
HALF = group("MatMul (xd, mf)", kind=MATRIX, **SIGNED)
WHOLE = matrix(**SIGNED)

#: Runtime, rule, a model that breaks it, and one that breaks none.
CASES: list[tuple[str, str, onnx.ModelProto, onnx.ModelProto]] = [
    ("tensorrt", "opset", OLD, conv(**SIGNED)),
    ("tensorrt", "zero-point", conv(x="s, lowest", y="t, i"), conv(**SIGNED)),
    ("tensorrt", "type", conv(x="s, z0", y="t, z0"), conv(**SIGNED)),
    ("tensorrt", "bias", conv(bias=BIAS, **SIGNED), conv(**SIGNED)),
    ("tensorrt", "scale", conv(x="sc, i", y="t, i", **COMPUTED), conv(**SIGNED)),
    ("tensorrt", "activation-scales",
     conv(x="ss, wz", y="ss, wz", attributes=" <axis = 1>"), conv(**SIGNED)),
    ("tensorrt", "weight-axis", transposed(0), transposed(1)),
    ("tensorrt", "weight-axis", conv("<axis = 1> (w, ws, wz)", **SIGNED), conv(**SIGNED)),
    ("tensorrt", "half", HALF, WHOLE),
    ("tensorrt", "domain", custom(), conv(**SIGNED)),
    ("openvino", "domain", custom(), conv()),
    ("openvino", "half", group("Conv (x, wd)", before="wd = DequantizeLinear (w, s, i)"), conv()),
    ("openvino", "bits", conv("(w16, s, i16)", opset=21), conv(opset=21)),
    ("openvino", "scale", conv(bias=BIAS, x="sc, z", **COMPUTED), conv(bias=BIAS)),
    ("openvino", "activation-scales", conv(**CHANNELS), conv()),
    ("openvino", "int8-zero-point", conv(x="s, lowest", y="t, lowest"), conv(**SIGNED)),
    ("openvino", "weight-zero-point", conv("(w, s, lowest)"), conv()),
    ("openvino", "weight-axis", conv("<axis = 1> (w, ws, wz)"), conv()),
    ("openvino", "pad-shared", pad(y="t, z"), pad()),
    ("openvino", "pad-zero-point", pad("many", shape="2,4,6,6"), group("Pad (xd, many)", x="s, z0",
                                                                   out="float[2,4,6,6]")),
    ("openvino", "pad-zero-point", free_batch(pad(shape="N,6,6,6")), pad()),
    ("openvino", "pad-value", pad("wide, half"), pad("wide, lo")),
    ("openvino", "16-bit", group("Neg (xd)", x="s, u16", opset=21), group("Neg (xd)")),
    ("openvino", "matrix-axis", matrix(weight="<axis = 0> (m, ws, wz)"),
     matrix(weight="<axis = 1> (m, ws, wz)")),
    ("openvino", "matrix-axis", matrix("Gemm <transB = 1>", "<axis = 1> (m, ws, wz)"),
     matrix("Gemm <transB = 1>", "<axis = 0> (m, ws, wz)")),
    ("openvino", "input-zero-point", transposed(1, x="s, z"), transposed(1, x="s, z0")),
    ("openvino", "input-zero-point", two("s, z", "s, i"), two("s, z0", "s, i")),
    ("openvino", "weight-zero-point", two("s, z0", "s, lowest"), two("s, z0", "s, i")),
    ("openvino", "weight-zero-point", matrix(weight="(m, s, lowest)"), matrix()),
    ("openvino", "weight-type", conv("(wu, s, z0)", y=""), conv(y="")),
    ("openvino", "weight-type", two("s, z0", "s, z0"), two("s, z0", "s, i")),
    ("openvino", "group", transposed(1, "ConvTranspose <group = 2> (xd, wd)", x="s, z0",
                                     weight="(w, s, i)", out="float[1,8,6,6]"),
     transposed(1, x="s, z0")),
    ("qnn", "shape", free(), conv()),
    ("qnn", "operator", group("Erf (xd)"), conv()),
    ("qnn", "float", group("Conv (x, wf)"), conv()),
    ("qnn", "half", group("MatMul (xd, mf)", kind=MATRIX), matrix()),
    ("qnn", "type", conv(**SIGNED), conv()),
]  # fmt: skip
