"""keep-faster-float: leave in floating point what would be slower on integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxq.graph import Model
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.kernel_plan import plan_kernels
from onnxq.pipeline.latency import predict, slower
from onnxq.targets.costs import Costs

UNSURE = 1.1
"""Predictions that differ by less than this factor do not say which plan is faster."""


@dataclass(frozen=True, kw_only=True)
class KeepFasterFloat(Pass):
    """Leave in floating point what would be slower on integers, conversions included.

    What it does
        Predicts what the model takes in floating point and as planned, from a table of what kernels
        cost. Where the plan does not promise to be ``speedup`` times as fast, it looks for the set
        of integer nodes that takes least, and leaves the others in float::

            time = Σ kernels, each in integers or in float + Σ Q and DQ where the two meet

        Its minimum over all sets is a minimum cut.

    Why
        Integers pay where many products are summed. Gates, depthwise layers and the first layers
        with their few channels are bound by memory and by element-wise kernels that are not
        faster on bytes; a network of these gets slower by being quantized.

        Where accuracy or integers come first (``apply=false``, as in balanced and best), it only
        warns of a plan that is predicted to be slower than float, before anything is deployed.

    Example
        ``keep-faster-float{speedup=1.1}``

    When it declines
        The network is predicted to be as fast as asked for; or it takes less than ``least_ms`` in
        float, where its size counts and prediction does not hold; or there are no costs for the
        target, or no floating point on it.

    Numerics
        Changes nothing by itself.

    Source
        Two labels with costs of their own and of disagreeing: Greig, Porteous and Seheult 1989,
        "Exact maximum a posteriori estimation for binary images".

    Attributes:
        apply: whether nodes are left in float; without, a plan slower than float is warned of.
        speedup: how many times as fast as float the plan has to be, to stay as it is.
        least_ms: predicted milliseconds in float, under which nothing is changed.
        costs: the table, as ``Costs`` writes it; empty for the target's own, which is the same on
            every machine, so that the same model gives the same file.
    """

    name: ClassVar[str] = "keep-faster-float"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    apply: bool = True
    speedup: float = 1.1
    least_ms: float = 1.0
    costs: str = ""

    def run(self, model: Model, ctx: Context) -> None:
        costs = Costs.parse(self.costs) if self.costs else ctx.target.costs
        if costs is None or ctx.target.integer is not None:
            return
        if not self.apply:
            self._warn(model, ctx, costs)
            return
        slow = slower(model, ctx, costs, speedup=self.speedup, least_ms=self.least_ms)
        for name in slow:
            ctx.plan.excluded[name] = "predicted to be slower on integers, conversions included"
        if slow:
            plan_kernels(model, ctx)

    def _warn(self, model: Model, ctx: Context, costs: Costs) -> None:
        """Warn where the plan is predicted to be slower than float."""
        planned, floating = (predict(model, ctx, costs, of).total for of in (None, ()))
        if 1e3 * floating >= self.least_ms and planned > UNSURE * floating:
            ctx.journal.warn(
                f"predicted to take {planned / floating:.1f} times as long as in float: its gates "
                "and element-wise nodes are slower on integers; --latency-aware leaves in float "
                "what is faster there"
            )
