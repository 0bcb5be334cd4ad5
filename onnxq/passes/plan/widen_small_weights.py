"""widen-small-weights: with few bits, layers of few weights keep the target's format."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from onnxq.graph import Model, is_constant
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.kernel_plan import plan_kernels
from onnxq.quant import QuantSpec

WIDE = "8"


@dataclass(frozen=True, kw_only=True)
class WidenSmallWeights(Pass):
    """Where weights of fewer bits are asked for, give small layers the target's format.

    What it does
        Goes through the layers from the fewest weights on and gives them the target's weight format
        (8 bits), until they hold ``percent`` of all weights.

    Why
        Fewer bits are asked for to save bytes, and small layers hold next to none: first layers,
        depthwise kernels, narrow bottlenecks. They are also what few bits hurt most: a sum over 9
        or 27 rounded weights averages little, and everything behind a bottleneck reads its errors.

    Example
        ``plan-kernels{weights=int4},widen-small-weights{percent=5}``

    When it declines
        Weights of 8 bits or more, targets without floating point (their multipliers are as wide as
        was asked for), and layers that ``set-precision`` gave a precision.

    Numerics
        Changes nothing by itself.

    Source
        Practice since Esser et al. 2020, "Learned Step Size Quantization", section 3, who keep
        first and last layers at 8 bits; here by size, since what counts is bytes.

    Attributes:
        percent: most of the weights, in percent, that may keep the target's format this way.
    """

    name: ClassVar[str] = "widen-small-weights"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    percent: float = 5.0

    def run(self, model: Model, ctx: Context) -> None:
        layers = _layers(model, ctx)
        left = sum(layers.values()) * self.percent / 100
        small = []
        for name, size in sorted(layers.items(), key=lambda found: found[1]):
            left -= size
            if left < 0:
                break
            small.append(name)
        if small:
            ctx.plan.precisions.update(dict.fromkeys(small, WIDE))
            plan_kernels(model, ctx)


def _layers(model: Model, ctx: Context) -> dict[str, int]:
    """How many weights the layers have whose format is narrower than the target's, by node."""
    found: dict[str, int] = {}
    if ctx.target.integer is not None:
        return found
    for node in model.graph.nodes:
        rule = ctx.target.rules.get(node.op)
        if node.name not in ctx.plan.nodes or rule is None or rule.weight is None:
            continue
        weight = node.inputs[rule.weight]
        spec = ctx.plan.tensors.get(weight.name)
        narrow = isinstance(spec, QuantSpec) and spec.dtype.bits < ctx.target.weights.dtype.bits
        if narrow and is_constant(weight) and node.name not in ctx.plan.precisions:
            found[node.name] = prod(int(d) for d in weight.shape)
    return found
