"""exclude-nodes: keep what the user names in floating point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxq.graph import Model
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.selection import select


@dataclass(frozen=True, kw_only=True)
class ExcludeNodes(Pass):
    """Keep nodes in floating point by glob, operator type, regular expression or region.

    What it does
        Marks every node that a pattern matches, so that planning leaves it in float. The report
        lists each with the pattern that matched.

    Why
        Node numbers shift between exports, and a list that silently matches nothing is worse than
        none: a pattern without a match is an error.

    Example
        ``exclude-nodes{patterns=["op:Sigmoid", "head*", "from:neck.out,to:boxes"]}``

    When it declines
        Never: a pattern without a match is an error that lists the nearest names.

    Numerics
        Changes nothing.

    Source
        The kinds of patterns follow what users of several quantizers asked for.

    Attributes:
        patterns: what to keep in float; names are those after fusion.
    """

    name: ClassVar[str] = "exclude-nodes"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    patterns: tuple[str, ...] = ()

    def run(self, model: Model, ctx: Context) -> None:
        for pattern in self.patterns:
            for name in select(model, pattern):
                ctx.plan.excluded.setdefault(name, f"excluded by '{pattern}'")
