"""Hardware without floating point: FPGA designs, NPUs, microcontrollers.

Where every scale is a power of two, a result is its accumulator shifted to the right. Where not,
the accumulator is multiplied first.

Sources: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", section 2.2, and gemmlowp (multiplier and shift); Jain et al.
2020, "Trained Quantization Thresholds", section 3.1 (power-of-two scales); NXP and Espressif
profiles as public quantizers describe them (PPQ, ESP-DL: rounding, width of biases); AMD Vitis AI,
"DPU" (limits of shifts).
"""

from __future__ import annotations

from dataclasses import replace

from onnxq.quant import INT8, PerAxis, QuantSpec, Rounding, ScaleRule
from onnxq.targets.onnxruntime_cpu import RULES
from onnxq.targets.target import ZERO_POINTS, Arithmetic, OpRule, Role, Target

_LINEAR = ("Conv", "Gemm", "MatMul")

INTEGER_RULES = {
    **{op: replace(RULES[op], kernel=f"integer {op}", float_output=False) for op in _LINEAR},
    "ConvTranspose": replace(RULES["Conv"], kernel="integer ConvTranspose", channel_axis=1),
    **{op: replace(RULES[op], kernel=f"integer {op}") for op in ("Add", "Mul", "Concat")},
    **{
        op: OpRule(kernel=f"integer {op}", role=Role.ELEMENTWISE, absorbs=("Relu", "Clip"))
        for op in ("AveragePool", "GlobalAveragePool")
    },
    **{op: rule for op, rule in RULES.items() if rule.role is Role.MOVE},
    **{op: OpRule(kernel=op, role=Role.MOVE) for op in ("Relu", "Clip", "Pad")},
    "Sigmoid": OpRule(kernel="table", role=Role.ELEMENTWISE, output_range=(0.0, 1.0)),
    "HardSigmoid": OpRule(kernel="table", role=Role.ELEMENTWISE, output_range=(0.0, 1.0)),
    "Tanh": OpRule(kernel="table", role=Role.ELEMENTWISE, output_range=(-1.0, 1.0)),
    "HardSwish": OpRule(kernel="table", role=Role.ELEMENTWISE, since=14),
    **{op: OpRule(kernel="table", role=Role.ELEMENTWISE) for op in ("Elu", "LeakyRelu")},
    "PRelu": OpRule(kernel="integer PRelu", role=Role.ELEMENTWISE),
    "Softmax": OpRule(kernel="table", role=Role.ELEMENTWISE, output_range=(0.0, 1.0)),
}
"""What integer-only hardware computes: products, sums, means, moves, and tables of 256 codes."""

_CODES = QuantSpec(dtype=INT8, symmetric=True, scale=ScaleRule.POWER_OF_TWO)

_NO_FLOAT = "it has no floating point"

FPGA_POW2 = Target(
    name="fpga-pow2",
    summary="integers alone, for FPGA, RTL and C: int8, scales powers of two, shifts",
    activations=_CODES,
    weights=_CODES,
    rules=INTEGER_RULES,
    removes_absorbed=False,
    integer=Arithmetic(),
    lacks={
        "float": _NO_FLOAT,
        "16": _NO_FLOAT,
        "4": "its programs hold a weight in a byte: 4 bits would make nothing smaller",
    },
)
_DEVICE = replace(FPGA_POW2, lacks={**FPGA_POW2.lacks, ZERO_POINTS: "its codes are centred at 0"})
NXP = replace(
    _DEVICE,
    name="nxp",
    summary="NXP: as fpga-pow2, weights per channel, rounded half away from zero",
    weights=replace(_CODES, granularity=PerAxis(0), rounding=Rounding.HALF_AWAY),
)
ESP32 = replace(
    _DEVICE,
    name="esp32",
    summary="Espressif ESP32-S3: as fpga-pow2, biases of 20 bits",
    integer=Arithmetic(bias_bits=20),
)
ESP32_P4 = replace(
    _DEVICE,
    name="esp32-p4",
    summary="Espressif ESP32-P4: weights per channel, results rounded half to even",
    weights=replace(_CODES, granularity=PerAxis(0)),
    integer=Arithmetic(rounding=Rounding.NEAREST_EVEN),
)
DPU = replace(
    _DEVICE,
    name="dpu",
    summary="AMD DPU: as fpga-pow2, shifts of at most 16 bits, biases of 8 bits",
    integer=Arithmetic(
        code_bits=8, bias_bits=8, shift=(0, 16), bias_shift=15, operand_shift=7, sum_shift=25
    ),
)
MCU_INT8 = replace(
    FPGA_POW2,
    name="mcu-int8",
    summary="microcontrollers: int8, any scale, by multiplier and shift as in TensorFlow Lite",
    activations=QuantSpec(dtype=INT8),
    weights=QuantSpec(dtype=INT8, granularity=PerAxis(0), symmetric=True, narrow_range=True),
    integer=Arithmetic(multiplier=True, rounding=Rounding.HALF_AWAY),
)
