"""ONNX Runtime's CPU provider: what its graph optimizer fuses into integer kernels.

Source: onnxruntime/core/optimizer/qdq_transformer (selectors and actions), read at 1.30 and
confirmed on optimized graphs of 1.31.
"""

from __future__ import annotations

from dataclasses import replace

from onnxq.quant import INT8, UINT8, PerAxis, QuantSpec
from onnxq.targets.onnxruntime_costs import AVX2, VNNI
from onnxq.targets.target import OpRule, Role, Target

_CLAMPS = ("Relu", "Clip")

RULES = {
    "Conv": OpRule(kernel="QLinearConv", role=Role.COMPUTE, weight=1, bias=2, absorbs=_CLAMPS),
    "Gemm": OpRule(
        kernel="QGemm", role=Role.COMPUTE, weight=1, bias=2, channel_axis=1, float_output=True,
        absorbs=_CLAMPS,
    ),
    "MatMul": OpRule(
        kernel="QLinearMatMul", role=Role.COMPUTE, weight=1, channel_axis=-1, float_output=True,
        absorbs=_CLAMPS,
    ),
    "Add": OpRule(kernel="QLinearAdd", role=Role.ELEMENTWISE, activations=None, absorbs=_CLAMPS),
    "Mul": OpRule(kernel="QLinearMul", role=Role.ELEMENTWISE, activations=None, absorbs=_CLAMPS),
    "AveragePool": OpRule(kernel="QLinearAveragePool", role=Role.ELEMENTWISE),
    "GlobalAveragePool": OpRule(kernel="QLinearGlobalAveragePool", role=Role.ELEMENTWISE),
    "Sigmoid": OpRule(
        kernel="QLinearSigmoid", role=Role.ELEMENTWISE, output_range=(0.0, 1.0)
    ),
    "LeakyRelu": OpRule(kernel="QLinearLeakyRelu", role=Role.ELEMENTWISE),
    "Concat": OpRule(kernel="QLinearConcat", role=Role.JOIN, activations=None),
    "MaxPool": OpRule(kernel="MaxPool", role=Role.MOVE, since=12),
    "Resize": OpRule(kernel="Resize", role=Role.MOVE),
    "Split": OpRule(kernel="Split", role=Role.MOVE),
    **{
        op: OpRule(kernel=op, role=Role.MOVE)
        for op in ("Flatten", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze")
    },
}  # fmt: skip

_ON_CODES = {op: OpRule(kernel=op, role=Role.MOVE, on_codes=True) for op in ("Pad", "SpaceToDepth")}
"""What the runtime computes on codes, but keeps in float between Q and DQ."""

_ACTIVATIONS = QuantSpec(dtype=UINT8)
_WEIGHTS = QuantSpec(dtype=INT8, granularity=PerAxis(0), symmetric=True, narrow_range=True)

X86_VNNI = Target(
    name="x86-vnni",
    summary="ONNX Runtime on x86 with VNNI: uint8 activations, int8 weights per channel",
    activations=_ACTIVATIONS,
    weights=_WEIGHTS,
    rules={**RULES, **_ON_CODES},
    channel_block=4,
    code_bits=8,
    folds_casts=True,
    clips_codes=True,
    signed_scales=True,
    rounds_float_weights=True,
    domains=("com.microsoft",),
    costs=VNNI,
)
X86_AVX2 = replace(
    X86_VNNI,
    name="x86-avx2",
    summary="the same without 16-bit saturation, for x86 without VNNI",
    weights=replace(_WEIGHTS, pair_sum_limit=128),
    costs=AVX2,
)
X86 = replace(X86_AVX2, name="x86", summary="safe on every x86: today the same as x86-avx2")
ARM = replace(
    X86_VNNI,
    name="arm",
    summary="ONNX Runtime on 64-bit Arm: int8 activations, int8 weights per channel",
    activations=QuantSpec(dtype=INT8),
    channel_block=1,
    costs=None,
)
