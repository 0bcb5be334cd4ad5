"""The rules by which ONNX Runtime's CPU provider makes integer kernels, one small function each.

A function returns what is wrong with a group, or "" where the group keeps the rule. Each was seen
on optimized graphs of 1.31: a group that breaks it does not fuse, one that keeps all of them does.

Source: onnxruntime/core/optimizer/qdq_transformer (selectors and actions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onnxq.report.coverage.conversions import BYTES, INT8, INT32, UINT8, WORDS, type_text
from onnxq.report.coverage.qdq_groups import QdqGroup
from onnxq.report.coverage.redundant import why_kept

MOVES = frozenset({
    "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "MaxPool", "ReduceMax",
    "ReduceMin", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
})  # fmt: skip
_BYTES_ONLY = frozenset({"DepthToSpace", "MaxPool", "ReduceMax", "ReduceMin", "Resize"})
_ARITHMETIC = frozenset({
    "Add", "AveragePool", "Concat", "Conv", "Gemm", "GlobalAveragePool", "LeakyRelu", "MatMul",
    "Mul", "Sigmoid", "Softmax", "Where",
})  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        name: in reports.
        broken: what is wrong with a group; "" where nothing is.
        remedy: what to try.
    """

    name: str
    broken: Callable[[QdqGroup], str]
    remedy: str


def _operator(g: QdqGroup) -> str:
    there = g.op in _ARITHMETIC or g.op in MOVES or g.op == "ArgMax"
    return "" if there else f"there is no integer kernel for {g.op} on the CPU"


def _opset(g: QdqGroup) -> str:
    old = g.op == "MaxPool" and g.opset < 12
    return f"MaxPool runs on bytes from opset 12, the model has {g.opset}" if old else ""


def _mode(g: QdqGroup) -> str:
    mode = g.attribute("mode", b"nearest")
    other = g.op == "Resize" and mode != b"nearest"
    return f"bytes are resized in mode nearest only, not {mode.decode()}" if other else ""


def _indices(g: QdqGroup) -> str:
    second = g.op == "MaxPool" and len(g.node.output) > 1 and bool(g.node.output[1])
    return f"its second output '{g.node.output[1]}' is asked for" if second else ""


def _output_float(g: QdqGroup) -> str:
    if g.op in ("Gemm", "MatMul", "ArgMax") or all(r.quantizers for r in g.results):
        return ""
    return f"its output '{next(r.name for r in g.results if not r.quantizers)}' is not quantized"


def _model_output(g: QdqGroup) -> str:
    name = next((r.name for r in g.results if r.quantizers and r.model_output), "")
    return f"its float output '{name}' is an output of the model too" if name else ""


def _read_in_float(g: QdqGroup) -> str:
    others = [o for r in g.results if r.quantizers for o in r.others]
    return f"its output is also read in float, by {_few(others)}" if others else ""


def _quantized_twice(g: QdqGroup) -> str:
    twice = next((r for r in g.results if len(r.quantizers) > 1), None)
    return "" if twice is None else f"its output is quantized {len(twice.quantizers)} times"


def _clamp(g: QdqGroup) -> str:
    for result in g.results:
        for clamp in result.clamps:
            if why := why_kept(clamp, result.quantizers[0], g.reader):
                return f"{clamp.op_type} '{clamp.name or clamp.output[0]}' behind it stays: {why}"
    return ""


def _input_float(g: QdqGroup) -> str:
    for operand in g.operands:
        stored = operand.constant and g.op in ("Conv", "Gemm")
        bias = operand.index == 2 and g.op != "Concat"
        if operand.conversion is not None or stored or (bias and g.op != "Where"):
            continue
        if g.op == "Where" and operand.constant:
            value = g.value(operand.name)
            if value is not None and value.size == 1:
                continue
        kind = "a constant" if operand.constant else "computed"
        return f"its input {operand.index} '{operand.name}' ({kind}) is in float"
    return ""


def _weight_float(g: QdqGroup) -> str:
    weight, bias = g.operand(1), g.operand(2)
    if g.op not in ("Conv", "Gemm") or weight is None or weight.conversion or not weight.constant:
        return ""
    if not g.quantizers:
        return f"its weight '{weight.name}' is in float, and its output is not quantized"
    if bias is not None and bias.conversion is not None:
        return f"its weight '{weight.name}' is in float, beside a bias that is quantized already"
    return ""


def _bias_float(g: QdqGroup) -> str:
    bias = g.operand(2)
    if g.op not in ("Conv", "Gemm") or bias is None or bias.conversion is not None:
        return ""
    if not bias.constant:
        return f"its bias '{bias.name}' is computed in float"
    none = g.op == "Gemm" and not g.quantizers
    return f"its bias '{bias.name}' is in float, and its output is not quantized" if none else ""


def _bits(g: QdqGroup) -> str:
    fine: tuple[int, ...] = BYTES
    if g.op in MOVES and g.op not in _BYTES_ONLY:
        fine += WORDS
    data = [o.conversion for o in g.operands if o.index < 2 or g.op not in ("Conv", "Gemm")]
    for conversion in (*data, *g.quantizers):
        if conversion is not None and conversion.dtype not in (*fine, 0):
            return f"'{conversion.node.input[0]}' is {type_text(conversion.dtype)}, not 8 bit"
    return ""


def _int8(g: QdqGroup) -> str:
    x = g.given(0)
    if g.op not in ("Conv", "MatMul") or x is None or x.runs != INT8 or g.reader.int8:
        return ""
    why = "they come into the model"
    if x.readers > 1:
        why = f"they are read {x.readers} times"
    elif x.scales > 1:
        why = "they have a scale for each channel"
    return f"its input is int8; on x86 ONNX Runtime turns codes into uint8, but not where {why}"


def _types(g: QdqGroup) -> str:
    activations = [g.given(0)] if g.op in ("Conv", "Gemm", "MatMul") else g.sources
    types = [c.runs for c in (*activations, *g.quantizers) if c is not None and c.runs in BYTES]
    if g.op == "ArgMax" or len(set(types)) < 2 or _int8(g):
        return ""
    shown = " and ".join(type_text(t) for t in dict.fromkeys(types))
    return f"its inputs and its output have the types {shown}, as they run"


def _weight_type(g: QdqGroup) -> str:
    x, w = g.given(0), g.given(1)
    if g.op not in ("Conv", "MatMul") or x is None or w is None:
        return ""
    wrong = x.runs == INT8 and w.dtype == UINT8
    return "its weight is uint8 beside int8 activations" if wrong else ""


def _zero_points(g: QdqGroup) -> str:
    needed = [g.given(0), g.given(1)] if g.op == "Gemm" else []
    if g.op in MOVES:
        needed = [*g.sources, *g.quantizers]
    bare = next((c for c in needed if c is not None and not c.has_zero), None)
    return "" if bare is None else f"{_named(bare.node)} has no zero point written down"


def _parameters(g: QdqGroup) -> str:
    x = g.given(0)
    if g.op not in MOVES or x is None or all(x.same(q) for q in g.quantizers):
        return ""
    return "its input and its output have different scales or zero points"


def _scale_computed(g: QdqGroup) -> str:
    if g.op in MOVES:
        found = [*g.sources, *g.quantizers]
    elif g.op == "Conv" and g.given(2) is not None:
        found = g.sources  # the bias is held against the scales
    else:
        return ""
    bare = next((c for c in found if c.scale is None), None)
    return "" if bare is None else f"the scale of {_named(bare.node)} is computed in the run"


def _per_channel(g: QdqGroup) -> str:
    x = g.given(0)
    judged = g.op == "Gemm" or (g.op == "Conv" and g.operand(2) is not None)
    many = judged and x is not None and x.scales > 1
    return "its input has a scale for each channel" if many else ""


def _bias_type(g: QdqGroup) -> str:
    bias = g.given(2) if g.op in ("Conv", "Gemm") else None
    wrong = bias is not None and bias.dtype not in (INT32, 0)
    return f"its bias is {type_text(bias.dtype)}, not int32" if wrong and bias else ""


def _bias_scale(g: QdqGroup) -> str:
    bias = g.given(2)
    wide = g.op == "Conv" and bias is not None and bias.dtype == INT32
    found = bias_scale_off(g) if wide else None
    return "" if found is None else f"the scale of its bias is {found:.3g} times s_x · s_w"


def _bias_zero(g: QdqGroup) -> str:
    bias = g.given(2) if g.op == "Conv" else None
    there = bias is not None and bias.zero is not None and bias.zero.any()
    return "the zero point of its bias is not 0" if there else ""


def _factors(g: QdqGroup) -> str:
    if g.op != "Gemm" or g.operand(2) is None:
        return ""
    factors = g.attribute("alpha", 1.0), g.attribute("beta", 1.0)
    return "" if factors == (1.0, 1.0) else "its alpha or beta is not 1, and it has a bias"


def _made_gemm(g: QdqGroup) -> str:
    if g.op != "MatMul" or g.became not in ("Gemm", "FusedGemm"):
        return ""
    return "ONNX Runtime first makes a Gemm of it and the Add behind it, and that bias is in float"


def bias_scale_off(g: QdqGroup) -> float | None:
    """The scale of the bias as a multiple of s_x·s_w, where it is none of 1; else None."""
    x, w, bias = g.given(0), g.given(1), g.given(2)
    if x is None or w is None or bias is None:
        return None
    if x.scale is None or w.scale is None or bias.scale is None or x.scale.size > 1:
        return None
    product = (x.scale.reshape(-1) * w.scale.reshape(-1)).astype(np.float64)
    own = bias.scale.reshape(-1).astype(np.float64)
    if own.size not in (1, product.size) and product.size != 1:
        return None
    off = np.abs(own - product) > 1e-6 + 0.01 * np.abs(product)
    if not off.any():
        return None
    return float((own / product)[off].flat[0])


def _few(names: list[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _named(node: object) -> str:
    name = getattr(node, "name", "") or getattr(node, "output", [""])[0]
    return f"{getattr(node, 'op_type', '')} '{name}'"


#: The rules, the most telling first.
RULES = (
    Rule("operator", _operator, "fold it into a neighbour, or use an operator that has one"),
    Rule("opset", _opset, "raise the model's opset"),
    Rule("mode", _mode, "keep it in float, or resize in mode nearest"),
    Rule("second-output", _indices, "keep it in float, or do without that output"),
    Rule("gemm", _made_gemm, "store that bias as int32 with the scale s_x · s_w"),
    Rule("bits", _bits, "8 bits, or keep it in float"),
    Rule("input-float", _input_float, "quantize that input too, or keep the node in float"),
    Rule("weight-float", _weight_float, "store the weight as 8-bit integers"),
    Rule("output-float", _output_float, "quantize the output too, or keep the node in float"),
    Rule("output-of-model", _model_output, "let the model's output be the dequantized tensor"),
    Rule("consumers", _read_in_float, "let those read the dequantized tensor"),
    Rule("quantized-twice", _quantized_twice, "quantize it once, and let all read those codes"),
    Rule("clamp", _clamp, "a zero point at the lowest code, and a range within the limits"),
    Rule("int8-on-x86", _int8, "quantize activations to uint8 (onnxq: --target x86)"),
    Rule("types", _types, "one type for all activations; uint8 on x86 (onnxq: --target x86)"),
    Rule("weight-type", _weight_type, "int8 weights"),
    Rule("zero-point", _zero_points, "write the zero point down, even where it is 0"),
    Rule("parameters", _parameters, "give the output the scale and zero point of the input"),
    Rule("scale-computed", _scale_computed, "store the scale as a constant"),
    Rule("scale-per-channel", _per_channel, "one scale for the whole activation"),
    Rule("bias-float", _bias_float, "store the bias as int32 with the scale s_x · s_w"),
    Rule("bias-type", _bias_type, "store the bias as int32 with the scale s_x · s_w"),
    Rule("bias-scale", _bias_scale, "give the bias the scale s_x · s_w"),
    Rule("bias-zero-point", _bias_zero, "give the bias the zero point 0"),
    Rule("alpha-beta", _factors, "multiply alpha and beta into weight and bias"),
)
