"""The rules by which ONNX Runtime's CPU provider makes integer kernels, as a table.

Each was seen on optimized graphs of 1.31: a group that breaks it does not fuse, one that keeps all
of them does. The functions are in ``build_rules`` and ``number_rules``.

Source: onnxruntime/core/optimizer/qdq_transformer (selectors and actions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onnxq.report.coverage import build_rules as build
from onnxq.report.coverage import number_rules as numbers
from onnxq.report.coverage.qdq_groups import QdqGroup


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


#: The rules, the most telling first.
RULES = (
    Rule("operator", build.operator, "fold it into a neighbour, or use an operator that has one"),
    Rule("opset", build.opset, "raise the model's opset"),
    Rule("mode", build.mode, "keep it in float, or resize in mode nearest"),
    Rule("second-output", build.indices, "keep it in float, or do without that output"),
    Rule("gemm", build.made_gemm, "store that bias as int32 with the scale s_x · s_w"),
    Rule("bits", numbers.bits, "8 bits, or keep it in float"),
    Rule("float16", numbers.half, "convert the model to float32 before it is quantized"),
    Rule("input-float", build.input_float, "quantize that input too, or keep the node in float"),
    Rule("weight-float", build.weight_float, "store the weight as 8-bit integers"),
    Rule("output-float", build.output_float, "quantize the output too, or keep the node in float"),
    Rule("output-of-model", build.model_output, "let the model's output be the dequantized tensor"),
    Rule("consumers", build.read_in_float, "let those read the dequantized tensor"),
    Rule(
        "quantized-twice", build.quantized_twice, "quantize it once, and let all read those codes"
    ),
    Rule("clamp", build.clamp, "a zero point at the lowest code, and a range within the limits"),
    Rule("int8-on-x86", numbers.int8, "quantize activations to uint8 (onnxq: --target x86)"),
    Rule(
        "types", numbers.types, "one type for all activations; uint8 on x86 (onnxq: --target x86)"
    ),
    Rule("weight-type", numbers.weight_type, "int8 weights"),
    Rule("zero-point", numbers.zero_points, "write the zero point down, even where it is 0"),
    Rule("parameters", numbers.parameters, "give the output the scale and zero point of the input"),
    Rule("scale-computed", numbers.scale_computed, "store the scale as a constant"),
    Rule("scale-per-channel", numbers.per_channel, "one scale for the whole activation"),
    Rule("bias-float", build.bias_float, "store the bias as int32 with the scale s_x · s_w"),
    Rule("bias-type", numbers.bias_type, "store the bias as int32 with the scale s_x · s_w"),
    Rule("bias-scale", numbers.bias_scale, "give the bias the scale s_x · s_w"),
    Rule("bias-zero-point", numbers.bias_zero, "give the bias the zero point 0"),
    Rule("alpha-beta", build.factors, "multiply alpha and beta into weight and bias"),
)
