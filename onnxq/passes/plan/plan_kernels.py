"""plan-kernels: decide which nodes become integer kernels, and what each tensor becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxq.graph import Model
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.kernel_plan import plan_kernels


@dataclass(frozen=True, kw_only=True)
class PlanKernels(Pass):
    """Choose the nodes that run on integers, so that every one of them is a fused kernel.

    What it does
        Marks every Conv, Gemm and MatMul that the target has an integer kernel for; then the
        element-wise nodes, joins and data movement that lie between two of them, so that integers
        flow through without a detour over floats; then gives each tensor at their inputs and
        outputs a spec. Relu and Clip behind a kernel are absorbed: the range of the quantized
        tensor is limited to theirs. Data movement shares the scale of its input; the inputs of
        a Concat that feed nothing else share the scale of its output, so that joining copies.

    Why
        A runtime fuses only complete groups. Quantizing one element-wise node on its own costs two
        conversions and one rounding, and gains nothing; and behind the last layer with weights
        (softmax, box decoders, score gates) 8 bits only lose accuracy.

    Example:
        ``plan-kernels{weights=int8,granularity=tensor}``

    When it declines
        A node stays in float, with the reason in the report: no integer kernel on the target,
        a weight that is computed, an excluded node, nothing to gain between float neighbours.

    Numerics
        Changes nothing by itself.

    Source
        ONNX Runtime's QDQ selectors (onnxruntime/core/optimizer/qdq_transformer).

    Attributes:
        weights: number format of weights; None takes the target's.
        activations: number format of activations; None takes the target's.
        granularity: ``channel`` or ``tensor`` scales for weights; ``model`` for one scale for the
            weights of all layers and one for all activations, to compare with (activations such as
            Relu stay nodes then, and constant operands keep scales of their own); None takes the
            target's.
    """

    name: ClassVar[str] = "plan-kernels"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    weights: str | None = None
    activations: str | None = None
    granularity: str | None = None

    def run(self, model: Model, ctx: Context) -> None:
        ctx.learn(model)
        ctx.plan.weights, ctx.plan.activations = self.weights, self.activations
        ctx.plan.granularity = self.granularity
        plan_kernels(model, ctx)
