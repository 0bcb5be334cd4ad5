"""What one hardware and its runtime can do: a table, never a subclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from onnxq.quant import QuantSpec, Rounding
from onnxq.targets.costs import Costs

ZERO_POINTS = "zero points"
"""Of activations: named in ``Target.lacks`` where hardware has none."""

PRECISIONS = ("float", "16", "8", "4")
"""What a layer with weights can be, widest first.

float computes in floating point; 16 does too, its weights stored as float16; 8 is the target's
integer kernel; 4 is that kernel with weights of 4 bits.
"""


class Role(Enum):
    """What a node of an operator does to numbers, which decides when quantizing it pays.

    COMPUTE multiplies and accumulates: worth quantizing for itself. ELEMENTWISE rounds its result
    again: worth it between two compute nodes. MOVE copies or selects: exact, input and output
    have one scale. JOIN copies several inputs side by side.
    """

    COMPUTE = "compute"
    ELEMENTWISE = "elementwise"
    MOVE = "move"
    JOIN = "join"


@dataclass(frozen=True, kw_only=True)
class OpRule:
    """When and how a node of one operator type becomes an integer kernel.

    Attributes:
        kernel: what the runtime makes of it.
        role: when quantizing it pays.
        activations: indices of the inputs that are activations; None means all inputs.
        weight: index of the constant weight input, None where it has none.
        bias: index of the bias input, None where it has none.
        channel_axis: axis of the weight's output channels, for per-channel scales.
        float_output: the kernel may leave its output in floating point.
        absorbs: operators behind it that a quantized range may make redundant.
        output_range: real range of the output, where the operator's mathematics fixes it.
        since: lowest opset at which the runtime has the kernel.
        on_codes: the runtime computes it on codes where the model says so, but does not take Q and
            DQ away from it by itself.
    """

    kernel: str
    role: Role
    activations: tuple[int, ...] | None = (0,)
    weight: int | None = None
    bias: int | None = None
    channel_axis: int = 0
    float_output: bool = False
    absorbs: tuple[str, ...] = ()
    output_range: tuple[float, float] | None = None
    since: int = 1
    on_codes: bool = False

    def activation_inputs(self, count: int) -> tuple[int, ...]:
        """Indices of the activations of a node with *count* inputs."""
        return tuple(range(count)) if self.activations is None else self.activations


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """How hardware without floating point gets from accumulators to results.

    A product of codes has the exponent e_x + e_w; n = e_y − (e_x + e_w) is the right shift that
    makes a code of the result of it. Where scales are no powers of two, the accumulator is first
    multiplied by a number m of 31 bits: m · 2^(−31 − n) stands for s_x · s_w / s_y.

    Attributes:
        multiplier: whether results are multiplied before the shift, so that scales and zero points
            may be any. The limits of shifts have no effect then.
        zero_points: whether activations may have zero points where results are shifted alone: it
            is added behind the shift, and what it adds up to in products is part of the bias.
        rounding: what the right shift does with what it drops: half up adds 2ⁿ⁻¹ before it,
            floor is the plain shift.
        accumulator_bits: width of the accumulator.
        code_bits: width of the widest codes that it has.
        bias_bits: width of a stored bias. Narrower than 32, it is shifted to the left when it is
            added.
        shift: smallest and largest right shift.
        bias_shift: largest left shift of a bias.
        operand_shift: largest left shift that aligns the operands of a sum.
        sum_shift: largest right shift of a sum.
        aligned: operators whose inputs have the scale of their output, so that they only copy.
    """

    multiplier: bool = False
    zero_points: bool = False
    rounding: Rounding = Rounding.HALF_UP
    accumulator_bits: int = 32
    code_bits: int = 16
    bias_bits: int = 32
    shift: tuple[int, int] = (0, 31)
    bias_shift: int = 31
    operand_shift: int = 22
    sum_shift: int = 31
    aligned: tuple[str, ...] = ("Concat",)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A hardware profile.

    Attributes:
        name: as on the command line.
        summary: one line for people.
        activations, weights: default specs.
        rules: by operator type, the integer kernels that exist.
        opset: the lowest opset that the emitted form needs.
        max_opset: the highest opset that the runtime reads.
        quantized_bias: whether the bias becomes int32 at s_x·s_w, or stays in floating point.
        removes_absorbed: whether absorbed activations are taken out of the graph.
        domains: domains of operators beside ONNX's own that its runtime has.
        integer: how it computes where it has no floating point; then every node has to run on
            integers. None where a runtime decides.
        folds_casts: its runtime computes a Cast of a constant when it loads the model, so that
            weights stored in 4 bits run in 8-bit kernels.
        signed_scales: its runtime multiplies stored weights by scales of either sign.
        clips_codes: its runtime clips codes between QuantizeLinear and DequantizeLinear, and the
            kernels beside stay whole. Where not, values are clipped in front of QuantizeLinear.
        rounds_float_weights: its runtime rounds constant float weights of a layer between
            DequantizeLinear and QuantizeLinear to integers of its own.
        pads_codes: a runtime of it moves a Pad in front of DequantizeLinear and puts in the code 0,
            so that signed tensors that are padded need a zero point of 0.
        floats: floating-point formats of few bits that activations and weights may have.
        channel_block: integer convolutions read input channels in blocks of so many; of fewer they
            make a copy for each element of the kernel first.
        code_bits: width of the widest activations that its integer kernels read. What is wider is
            computed in float between Q and DQ.
        lacks: by precision (see ``PRECISIONS``), or ``ZERO_POINTS``, why it cannot be had.
    """

    name: str
    summary: str
    activations: QuantSpec
    weights: QuantSpec
    rules: Mapping[str, OpRule]
    opset: int = 13
    max_opset: int = 26
    quantized_bias: bool = True
    removes_absorbed: bool = True
    domains: tuple[str, ...] = ()
    integer: Arithmetic | None = None
    costs: Costs | None = None
    folds_casts: bool = False
    signed_scales: bool = False
    clips_codes: bool = False
    rounds_float_weights: bool = False
    pads_codes: bool = False
    floats: tuple[str, ...] = ()
    channel_block: int = 1
    code_bits: int = 16
    lacks: Mapping[str, str] = field(default_factory=dict)
