"""What one hardware and its runtime can do: a table, never a subclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxq.quant import QuantSpec


@dataclass(frozen=True, kw_only=True)
class OpRule:
    """When and how a node of one operator type becomes an integer kernel.

    Attributes:
        kernel: what the runtime makes of it.
        activations: indices of the inputs that are activations; empty means all inputs.
        weight: index of the constant weight input, None where it has none.
        bias: index of the int32 bias input, None where it has none.
        weight_axis: axis of the output channels of the weight, for per-channel scales.
        moves: data movement or selection: the output has the input's scale and zero point.
        float_output: the kernel may leave its output in floating point.
        absorbs: operators behind it that a quantized range may make redundant.
        compute: does multiply-accumulates, so it is worth quantizing for itself.
        output_range: real range of the output, where the operator's mathematics fixes it.
    """

    kernel: str
    activations: tuple[int, ...] = (0,)
    weight: int | None = None
    bias: int | None = None
    weight_axis: int = 0
    moves: bool = False
    float_output: bool = False
    absorbs: tuple[str, ...] = ()
    compute: bool = False
    output_range: tuple[float, float] | None = None


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
        bias: whether the bias is quantized (int32 at s_x·s_w) or stays in floating point.
        removes_absorbed: whether absorbed activations are taken out of the graph.
    """

    name: str
    summary: str
    activations: QuantSpec
    weights: QuantSpec
    rules: Mapping[str, OpRule]
    opset: int = 13
    max_opset: int = 25
    bias: bool = True
    removes_absorbed: bool = True
