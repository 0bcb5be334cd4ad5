"""The pass ``relu-to-leakyrelu``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model
from onnxq.passes._scope import Scope
from onnxq.passes.fuse._integers import Neighbours, main_nodes
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class ReluToLeakyRelu(Pass):
    """Write a Relu that no kernel can absorb as a LeakyRelu without a slope.

    What it does:
        A Relu whose input is read elsewhere too, or whose producer takes in no activation, becomes
        an operator that runs on integers::

            Relu(x)  =  LeakyRelu(x; alpha = 0)

    Why:
        A Relu is free where the range of the tensor in front stands for it. Where that tensor is
        needed with its negative numbers as well, as in residual networks that are activated
        before the convolution, ONNX Runtime computes Relu in float: two conversions for nothing.
        It has an integer kernel of LeakyRelu, a table of 256 entries.

    Example:
        ``r = Relu(s)  c = Conv(r, w)  y = Add(s, c)``  becomes
        ``r = LeakyRelu<alpha = 0>(s)  c = Conv(r, w)  y = Add(s, c)``.

    When it declines:
        What computes its input has no integer kernel, or there is no integer layer with weights
        both before and behind it. Where the target has no integer kernel of LeakyRelu, has one of
        Relu, or keeps absorbed activations in the graph because it fuses them itself, the pass does
        nothing.

    Numerics:
        Equal; a zero may have a minus sign, and −∞ gives no number.

    Source:
        ONNX operator specifications, Relu and LeakyRelu; ONNX Runtime's QLinearLeakyRelu.
    """

    name: ClassVar[str] = "relu-to-leakyrelu"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Rewrite every Relu that would stay in float between integers."""
        rules = ctx.target.rules
        if "LeakyRelu" not in rules or "Relu" in rules or not ctx.target.removes_absorbed:
            return
        scope = Scope(model)
        inside = {name for group in ctx.groups for name in group.nodes}
        near = Neighbours(scope, ctx, ops=("HardSwish", "HardSigmoid"))
        for node in main_nodes(scope, "Relu"):
            if node.name in inside or not _stays(scope, node, ctx):
                continue
            reason = _why_not(near, node)
            if reason:
                ctx.decline(node, reason)
                continue
            node.op = "LeakyRelu"
            node.attrs["alpha"] = 0.0


def _stays(scope: Scope, node: gs.Node, ctx: Context) -> bool:
    """Whether nothing in front of *node* can take it in."""
    above = scope.above(node)
    rule = None if above is None else ctx.target.rules.get(above.op)
    return rule is None or "Relu" not in rule.absorbs or not scope.only_use(node.inputs[0])


def _why_not(near: Neighbours, node: gs.Node) -> str:
    x = node.inputs[0]
    if near.source(x) is None:
        return f"what computes '{x.name}' does not run on integers"
    if not near.before(x) or not near.behind(node.outputs[0]):
        return "no integer layer with weights both before and behind it"
    return ""
