"""Runtimes as tables: what each refuses, runs in float or elsewhere, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import TensorProto

from onnxq.report.lint import pads, rules
from onnxq.report.lint.view import Effect

_INT8, _UINT8, _UINT16 = TensorProto.INT8, TensorProto.UINT8, TensorProto.UINT16
_TENSORRT_TYPES = (_INT8, TensorProto.INT4, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT4E2M1)
_INTEGER = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
_QDQ = "QDQ models instead of integer operators: onnxq quantize FLOAT.onnx"
_QNN = frozenset({
    "Abs", "Add", "And", "ArgMax", "ArgMin", "Asin", "Atan", "AveragePool",
    "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "ConvTranspose", "Cos",
    "DepthToSpace", "DequantizeLinear", "Div", "Elu", "Equal", "Exp", "Expand", "Flatten",
    "Floor", "Gather", "Gelu", "Gemm", "GlobalAveragePool", "Greater", "GreaterOrEqual",
    "GridSample", "HardSwish", "InstanceNormalization", "LRN", "LayerNormalization",
    "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "LpNormalization", "MatMul",
    "Max", "MaxPool", "Min", "Mul", "Neg", "Not", "Or", "PRelu", "Pad", "Pow",
    "QuantizeLinear", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "Relu", "Resize", "Round", "Sigmoid", "Sign", "Sin", "Slice", "Softmax", "SpaceToDepth",
    "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Tile", "TopK", "Transpose", "Unsqueeze",
    "Where",
})  # fmt: skip


@dataclass(frozen=True)
class LintRule:
    """A rule of a runtime.

    Attributes:
        name: in reports.
        look: finds what breaks it.
        effect: the runtime refuses the model, runs the node in float, or on another processor.
        remedy: what to try.
    """

    name: str
    look: rules.Look
    effect: Effect
    remedy: str


@dataclass(frozen=True)
class Runtime:
    """A runtime and its rules.

    Attributes:
        name, title: on the command line, and for people.
        rules: what it asks for.
        source: where that is documented.
    """

    name: str
    title: str
    rules: tuple[LintRule, ...]
    source: str


TENSORRT = Runtime(
    "tensorrt",
    "NVIDIA TensorRT",
    (
        LintRule("opset", rules.opset(9, 25), "refused", "convert the model (--max-opset)"),
        LintRule("operator", rules.operators(_INTEGER), "refused", _QDQ),
        LintRule("domain", rules.domains, "refused", "standard operators, or a plug-in of yours"),
        LintRule("zero-point", rules.zero_points, "refused", "symmetric: onnxq --target tensorrt"),
        LintRule(
            "type", rules.types(_TENSORRT_TYPES), "refused", "int8: onnxq --target tensorrt"
        ),
        LintRule("bias", rules.integer_biases, "refused", "leave the bias in float"),
        LintRule("scale", rules.computed_scales, "refused", "store the scale as a constant"),
        LintRule(
            "activation-scales", rules.activation_scales, "refused",
            "one scale for the whole activation",
        ),
        LintRule(
            "weight-axis", rules.weight_axes(), "refused",
            "scales along the output channels: axis 0 of Conv, 1 of ConvTranspose",
        ),
        LintRule("half", rules.half_quantized, "float", "quantize both of its inputs, or none"),
    ),
    "TensorRT documentation, 'Working with Quantized Types' and 'ONNX Opset Guide' (11.x); "
    "onnx-tensorrt, docs/operators.md (10.0)",
)  # fmt: skip

OPENVINO = Runtime(
    "openvino",
    "Intel OpenVINO",
    (
        LintRule("operator", rules.operators(("QLinearConv", "QLinearMatMul")), "refused", _QDQ),
        LintRule("domain", rules.domains, "refused", _QDQ),
        LintRule(
            "integer", rules.operators(("ConvInteger", "MatMulInteger")), "float",
            "static quantization: onnxq quantize --target openvino",
        ),
        LintRule(
            "conv-weight-type", rules.unsigned_convolutions, "refused",
            "int8 weights: onnxq --target openvino",
        ),
        LintRule(
            "pad-shared", pads.pads_of_shared_zero_points, "refused",
            "a zero point tensor of its own: onnxq --target openvino",
        ),
        LintRule(
            "pad-zero-point", pads.pads_of_zero_points, "wrong",
            "a zero point of 0, or float around the Pad",
        ),
        LintRule("pad-value", pads.pads_with_values, "wrong", "float around the Pad"),
        LintRule("16-bit", rules.words, "wrong", "8 bits: onnxq --target openvino"),
        LintRule(
            "matrix-axis", rules.weight_axes(("MatMul", "Gemm")), "wrong",
            "scales along the columns of the result",
        ),
        LintRule("half", rules.half_quantized, "float", "quantize both of its inputs"),
        LintRule(
            "bits", rules.product_types((_INT8, _UINT8)), "float",
            "8 bits: onnxq --target openvino",
        ),
        LintRule("scale", rules.product_computed, "float", "store the scale as a constant"),
        LintRule(
            "activation-scales", rules.product_scales, "float",
            "one scale for the whole activation",
        ),
        LintRule(
            "int8-zero-point", rules.signed_zero_points, "float",
            "uint8 activations (onnxq --target openvino), or a zero point of 0",
        ),
        LintRule(
            "input-zero-point", rules.input_zero_points, "float", "a zero point of 0",
        ),
        LintRule("weight-zero-point", rules.weight_zero_points, "float", "symmetric weights"),
        LintRule("weight-type", rules.unsigned_weights, "float", "int8 weights"),
        LintRule(
            "weight-axis", rules.weight_axes(("Conv", "ConvTranspose")), "float",
            "scales along the output channels",
        ),
        LintRule("group", rules.transposed_groups, "float", "groups of their own, or float"),
    ),
    "OpenVINO documentation, 'Low Precision Transformations'; every rule seen in 2026.4 on a CPU",
)  # fmt: skip

QNN = Runtime(
    "qnn",
    "Qualcomm QNN (HTP), through ONNX Runtime",
    (
        LintRule(
            "shape", rules.free_dimensions, "refused",
            "fix them: python -m onnxruntime.tools.make_dynamic_shape_fixed",
        ),
        LintRule(
            "operator", rules.unlisted(_QNN, ("QuantizeLinear", "DequantizeLinear", "Gelu")),
            "elsewhere", "an operator that it has, or leave the node to the CPU",
        ),
        LintRule(
            "float", rules.float_products, "elsewhere", "quantize it: the NPU computes on integers",
        ),
        LintRule("half", rules.half_quantized, "elsewhere", "quantize both of its inputs"),
        LintRule(
            "type", rules.activation_types((_UINT8, _UINT16)), "elsewhere",
            "uint8 or uint16 activations (onnxq --target x86-vnni has uint8)",
        ),
    ),
    "ONNX Runtime documentation, 'QNN Execution Provider'",
)  # fmt: skip

RUNTIMES = {r.name: r for r in (TENSORRT, OPENVINO, QNN)}
