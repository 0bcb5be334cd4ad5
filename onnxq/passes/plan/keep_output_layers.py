"""keep-output-layers: leave cheap last layers in floating point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.kernel_plan import plan_kernels
from onnxq.pipeline.macs import macs
from onnxq.targets import Role


@dataclass(frozen=True, kw_only=True)
class KeepOutputLayers(Pass):
    """Leave the layers that write the outputs in float, where they are a small part of the work.

    What it does
        Finds the planned layers with weights whose quantized result no other integer layer (nor a
        layer that the user keeps in float) reads, and whose kernel cannot hand on a float result.
        Where all of them together do at most ``percent`` of the multiply-accumulates, they stay in
        float.

    Why
        Behind an output layer nothing averages its rounding: 256 codes are then all the values that
        a box coordinate, a score before its sigmoid or a pixel can take. Heads of detectors and
        the last convolution of image-to-image networks cost a few percent of the work.

    Example
        ``keep-output-layers{percent=5}``

    When it declines
        Output layers that do more of the work stay integer, and kernels with a float result (Gemm,
        MatMul) need no exception. Targets without floating point: there is no choice.

    Numerics
        Changes nothing by itself.

    Source
        Practice of quantizer users, who exclude detection heads by name (ultralytics, PPQ).

    Attributes:
        percent: most of the multiply-accumulates, in percent, that may stay in float this way.
    """

    name: ClassVar[str] = "keep-output-layers"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    percent: float = 5.0

    def run(self, model: Model, ctx: Context) -> None:
        if ctx.target.integer is not None:
            return
        last = [node for node in model.graph.nodes if _writes_output(node, ctx)]
        total = sum(macs(node, ctx) or 0 for node in model.graph.nodes)
        if not last or not total:
            return
        share = 100.0 * sum(macs(node, ctx) or 0 for node in last) / total
        if share > self.percent:
            for node in last:
                ctx.decline(node, f"output layers are {share:.1f} % of the work: they stay integer")
            return
        for node in last:
            ctx.plan.excluded[node.name] = (
                f"output layer: 256 codes would be all that the output can say "
                f"({share:.1f} % of the work)"
            )
        plan_kernels(model, ctx)


def _writes_output(node: gs.Node, ctx: Context) -> bool:
    """Whether *node* is a planned layer whose quantized result only float nodes read."""
    planned = ctx.plan.nodes.get(node.name)
    if planned is None or not planned.outputs:
        return False
    rule = ctx.target.rules[node.op]
    if rule.role is not Role.COMPUTE or rule.float_output:
        return False
    waiting = [node.outputs[0]]
    while waiting:
        for user, index in consumers(waiting.pop()):
            behind = ctx.plan.nodes.get(user.name)
            if user.name in planned.absorbs or (
                behind is not None and ctx.target.rules[user.op].role is Role.MOVE
            ):
                waiting.append(user.outputs[0])
            elif behind is not None and index in behind.inputs:
                return False
    return not _feeds_excluded(node, ctx)


def _feeds_excluded(node: gs.Node, ctx: Context) -> bool:
    """Whether a layer that the user excluded reads what *node* computes, through float nodes.

    It averages the rounding as an integer layer would: excluding a layer makes no output layer of
    the one before it.
    """
    seen: set[int] = set()
    waiting = list(node.outputs)
    while waiting:
        for user, _ in consumers(waiting.pop()):
            if id(user) in seen or user.name in ctx.plan.nodes:
                continue
            seen.add(id(user))
            rule = ctx.target.rules.get(user.op)
            if user.name in ctx.plan.excluded and rule and rule.role is Role.COMPUTE:
                return True
            waiting += user.outputs
    return False
