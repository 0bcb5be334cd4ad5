"""Runtimes that read QDQ models themselves, and a generic one.

Sources: TensorRT developer guide, "Working with Quantized Types" (symmetric int8, zero point 0,
bias in floating point, per-channel weights); OpenVINO documentation, "Low Precision
Transformations" (asymmetric activations, per-channel weights, bias in floating point).
"""

from __future__ import annotations

from dataclasses import replace

from onnxq.quant import INT8, PerAxis, QuantSpec
from onnxq.targets.onnxruntime_cpu import RULES, X86_VNNI
from onnxq.targets.target import ZERO_POINTS, OpRule, Role, Target

_TRANSPOSED = OpRule(
    kernel="int8 deconvolution", role=Role.COMPUTE, weight=1, bias=2, channel_axis=1,
    absorbs=("Relu", "Clip"),
)  # fmt: skip

TENSORRT = Target(
    name="tensorrt",
    summary="NVIDIA TensorRT: symmetric int8, zero points 0, bias in floating point",
    activations=QuantSpec(dtype=INT8, symmetric=True),
    weights=QuantSpec(dtype=INT8, granularity=PerAxis(0), symmetric=True, narrow_range=True),
    rules={
        op: rule
        for op, rule in RULES.items()
        if op in {"Conv", "Gemm", "MatMul", "Add", "AveragePool", "GlobalAveragePool", "Concat"}
        or rule.role is Role.MOVE
    },
    max_opset=23,
    quantized_bias=False,
    removes_absorbed=False,
    floats=("float8e4m3fn",),
    lacks={
        "4": "TensorRT reads weights of 4 bits in blocks alone, and computes them in float",
        ZERO_POINTS: "TensorRT reads zero points of 0 alone",
    },
)
OPENVINO = replace(
    X86_VNNI,
    name="openvino",
    summary="Intel OpenVINO: uint8 activations, int8 weights per channel, bias in floating point",
    rules={**RULES, "ConvTranspose": _TRANSPOSED},
    max_opset=23,
    quantized_bias=False,
    removes_absorbed=False,
    folds_casts=False,
    clips_codes=False,
    signed_scales=False,
    rounds_float_weights=False,
    channel_block=1,
    code_bits=16,
    lacks={"4": "OpenVINO has no integer kernels for weights of 4 bits"},
    domains=(),
)
GENERIC = replace(
    X86_VNNI,
    name="generic",
    summary="plain QDQ for any runtime: int8 activations, int8 weights per channel",
    activations=QuantSpec(dtype=INT8),
    rules={**RULES, "ConvTranspose": _TRANSPOSED},
    removes_absorbed=False,
    folds_casts=False,
    channel_block=1,
    code_bits=16,
    clips_codes=False,
    signed_scales=False,
    domains=(),
    pads_codes=True,
    floats=("float8e4m3fn", "float8e5m2"),
)
