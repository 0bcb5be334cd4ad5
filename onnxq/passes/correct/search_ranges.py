"""search-ranges: ranges of activations that make the error of the outputs small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.observer import AnyObserver
from onnxq.graph import Model, is_constant
from onnxq.passes.correct._variants import Bench, Variant
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.scale_groups import ScaleGroup, scale_groups
from onnxq.quant import QParams
from onnxq.quant.choose import qparams_from_range

_FACTORS = (0.5, 0.6, 0.7, 0.85, 1.2, 1.45, 1.75, 2.2)


@dataclass(frozen=True, kw_only=True)
class SearchRanges(Pass):
    """Choose ranges of activations by what rounding them does to the outputs.

    What it does
        Rounds one activation after the other, everything else in float, and measures the noise
        where the last integer layers write. Of those that make more than a small share of it,
        narrower and wider ranges are tried, and the one with the least noise there is taken.

    Why
        The error of the tensor itself misleads. Behind a pooled tensor rounding averages out and
        clipping does not: it wants a wide range. Where a ReLU6 or few weights wait for the largest
        values, they may be clipped, and the others get finer steps.

    Example
        ``choose-ranges{method=mse},search-ranges``

    When it declines
        All ranges stay where together they would not lower the noise, and where a node with
        sub-graphs (If, Loop) lies in front of the last integer layers.

    Numerics
        Noise of single tensors adds up nearly as if independent, so each is searched alone; all
        together are kept only if they lower the noise of all, on twice as many samples.

    Source
        Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 3.1 (ranges by
        an error measure); the measure at the outputs, as in Nahshan et al. 2019, "Loss Aware
        Post-Training Quantization".

    Attributes:
        samples: how many samples a range is judged on, from the first on.
        share: tensors that make less of the noise, as a share of all of it, are left; of ranges
            that differ by less, the widest is taken, since larger values than those seen will come.
    """

    name: ClassVar[str] = "search-ranges"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0

    samples: int = 16
    share: float = 0.005

    def wants(self, model: Model, ctx: Context) -> Mapping[str, tuple[AnyObserver, ...]]:
        return {name: (Extremes(),) for g in self._groups(model, ctx) for name in g.rounded}

    def run(self, model: Model, ctx: Context) -> None:
        groups = [g for g in self._groups(model, ctx) if g.rounded[0] in ctx.qparams]
        bench = Bench.of(model, ctx)
        if not groups or not bench.ends:
            return
        if bench.blind:
            ctx.decline(bench.blind, "what its sub-graphs read cannot be rounded for a trial")
            return
        ranges = {g.rounded[0]: ctx.qparams[g.rounded[0]] for g in groups}
        made = bench.noise(ctx, [_variant(g, ranges) for g in groups], max(self.samples // 4, 1))
        loud = [g for g, n in zip(groups, made, strict=True) if n > self.share * made.sum()]
        chosen = ranges | self._best(bench, loud, ctx, self.share * float(made.sum()))
        both = [
            {name: q for g in groups for name, q in _variant(g, of).items()}
            for of in (ranges, chosen)
        ]
        before, after = bench.noise(ctx, both, 2 * self.samples)
        for group in loud:
            if not after < before:
                ctx.decline(group.rounded[0], "the noise at the outputs would not go down")
                continue
            for name in group.tensors:
                ctx.qparams[name] = chosen[group.rounded[0]]

    def _best(
        self, bench: Bench, groups: list[ScaleGroup], ctx: Context, alike: float
    ) -> dict[str, QParams]:
        """By first tensor, the widest range of each group whose noise is *alike* the least."""
        trials = [(g, q) for g in groups for q in self._candidates(g, ctx)]
        variants = [_variant(g, {g.rounded[0]: q}) for g, q in trials]
        noise = bench.noise(ctx, variants, self.samples)
        least: dict[str, float] = {}
        for (group, _), found in zip(trials, noise.tolist(), strict=True):
            key = group.rounded[0]
            least[key] = min(found, least.get(key, np.inf))
        chosen: dict[str, QParams] = {}
        for (group, q), found in zip(trials, noise.tolist(), strict=True):
            key = group.rounded[0]
            enough = found <= least[key] + alike
            if enough and (key not in chosen or q.scale > chosen[key].scale):
                chosen[key] = q
        return chosen

    def _groups(self, model: Model, ctx: Context) -> list[ScaleGroup]:
        """Groups of activations whose range is free."""
        constants = frozenset(n for n, t in model.tensors().items() if is_constant(t))
        return [
            g
            for g in scale_groups(ctx.plan, constants)
            if g.fixed is None and g.spec is not None and g.rounded
        ]

    def _candidates(self, group: ScaleGroup, ctx: Context) -> list[QParams]:
        """The range in use and others, within what was seen."""
        now = ctx.qparams[group.rounded[0]]
        low, high = now.real_range
        seen = [ctx.statistics.get(n, Extremes()).bounds for n in group.rounded]
        least, most = min(s[0] for s in seen), max(s[1] for s in seen)
        found = [now]
        assert group.spec is not None
        for factor in _FACTORS:
            ends = low * factor, high * factor
            if factor > 1:
                ends = max(ends[0], min(least, low)), min(ends[1], max(most, high))
            q = qparams_from_range(*ends, group.spec)
            if all(q.scale != o.scale or q.zero_point != o.zero_point for o in found):
                found.append(q)
        return found


def _variant(group: ScaleGroup, of: Mapping[str, QParams]) -> Variant:
    return dict.fromkeys(group.rounded, of[group.rounded[0]])
