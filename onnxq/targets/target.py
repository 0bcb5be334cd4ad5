"""What one hardware and its runtime can do: a table, never a subclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from onnxq.quant import QuantSpec


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

    def activation_inputs(self, count: int) -> tuple[int, ...]:
        """Indices of the activations of a node with *count* inputs."""
        return tuple(range(count)) if self.activations is None else self.activations


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
        quantized_outputs: whether integer kernels need their output quantized (ONNX Runtime), or
            the runtime places requantization itself (TensorRT).
        dedicated: whether a join's inputs need one common scale.
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
