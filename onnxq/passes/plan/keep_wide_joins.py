"""keep-wide-joins: do not put tensors of very different range on one scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.observer import AnyObserver
from onnxq.graph import Model, consumers, is_constant
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.kernel_plan import plan_kernels
from onnxq.targets import Role


@dataclass(frozen=True, kw_only=True)
class KeepWideJoins(Pass):
    """Keep joins whose inputs differ widely in range in floating point.

    What it does
        Measures the range of each input of every planned Concat. Where the widest is more than
        ``ratio`` times the narrowest, the join stays in float and the plan is made anew around it:
        element-wise nodes that led only there (a score's Sigmoid) stay in float too.

    Why
        Detectors join boxes (0 … 640) and scores (0 … 1). On one 8-bit scale a step is 2.5: every
        score becomes 0.

    Example
        ``keep-wide-joins{ratio=10}``

    When it declines
        A join whose output only integer layers read stays integer: they would put it on one scale
        all the same. Targets without floating point: there is no choice.

    Numerics
        Changes nothing by itself.

    Source
        Reports of detectors without detections after quantization (onnxruntime issues 14233,
        10787).

    Attributes:
        ratio: the widest input range over the narrowest, from which on a join is kept in float.
    """

    name: ClassVar[str] = "keep-wide-joins"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    ratio: float = 10.0

    def wants(self, model: Model, ctx: Context) -> Mapping[str, tuple[AnyObserver, ...]]:
        return {
            tensor.name: (Extremes(),)
            for node in _joins(model, ctx)
            for tensor in node.inputs
            if not is_constant(tensor)
        }

    def run(self, model: Model, ctx: Context) -> None:
        if ctx.target.integer is not None:
            return
        before = len(ctx.plan.excluded)
        for node in _joins(model, ctx):
            spans = []
            for tensor in node.inputs:
                if not is_constant(tensor):
                    low, high = ctx.statistics.get(tensor.name, Extremes()).bounds
                    spans.append(max(abs(low), abs(high)))
            spans = [s for s in spans if s > 0]
            if len(spans) < 2 or max(spans) <= self.ratio * min(spans):
                continue
            reason = f"its inputs differ in range {max(spans) / min(spans):.0f}:1"
            users = [user for user, _ in consumers(node.outputs[0])]
            if users and all(u.name in ctx.plan.nodes and _computes(u, ctx) for u in users):
                ctx.decline(node, f"{reason}, but only integer layers read it")
                continue
            ctx.plan.excluded[node.name] = reason
        if len(ctx.plan.excluded) > before:
            plan_kernels(model, ctx)


def _joins(model: Model, ctx: Context) -> list[gs.Node]:
    return [
        node
        for node in model.graph.nodes
        if node.name in ctx.plan.nodes and ctx.target.rules[node.op].role is Role.JOIN
    ]


def _computes(node: gs.Node, ctx: Context) -> bool:
    return ctx.target.rules[node.op].role is Role.COMPUTE
