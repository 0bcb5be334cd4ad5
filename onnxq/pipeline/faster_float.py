"""What a plan that looks at latency would leave in float, told before it is made."""

from __future__ import annotations

from dataclasses import replace

from onnxq.graph import Model
from onnxq.pipeline.context import Context
from onnxq.pipeline.kernel_plan import plan_kernels
from onnxq.pipeline.latency import slower
from onnxq.pipeline.plan import QuantPlan


def stays_float(model: Model, ctx: Context) -> set[str]:
    """Names of nodes that 'keep-faster-float' would leave in float, were the plan made now."""
    costs = ctx.target.costs
    if costs is None or not ctx.plan.latency_aware or ctx.target.integer is not None:
        return set()
    ctx.learn(model)
    trial = replace(ctx, plan=QuantPlan(excluded=dict(ctx.plan.excluded)))
    plan_kernels(model, trial)
    return set(slower(model, trial, costs))
