"""The pass ``remove-noops``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxq.graph import Model
from onnxq.passes._scope import Scope
from onnxq.passes.canonical._noop import RULES
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class RemoveNoops(Pass):
    """Remove nodes that give out an input unchanged.

    What it does:
        Takes away Identity; Dropout at inference; Cast to the type that is there; Concat, Sum,
        Max, Min and Mean of one tensor; multiplication and division by 1, addition and
        subtraction of 0; Transpose, Reshape, Flatten, Expand, Pad and Slice that change nothing,
        where that follows from what the model states, for every input.

    Why:
        They hide patterns from later passes, and each could cost a pair of Q and DQ.

    Example:
        ``Conv → Identity → Dropout → Relu``  becomes  ``Conv → Relu``.

    When it declines:
        Input and output are both visible outside of the graph, so that both names must stay
        (a branch that returns a captured tensor needs its Identity); Dropout in training mode or
        with a mask that is read; a neutral constant that widens the other operand.

    Numerics:
        Exact, except that −0 + 0 is +0.

    Source:
        ONNX operator specifications.
    """

    name: ClassVar[str] = "remove-noops"
    stage: ClassVar[Stage] = Stage.CANONICALIZE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Remove every node that a rule proves to do nothing."""
        scope = Scope(model)
        for node in scope.sites(*RULES):
            answer = RULES[node.op](node, ctx, scope.stated)
            if isinstance(answer, int):
                answer = scope.bypass(node, answer)
            if answer:
                ctx.decline(node, answer)
