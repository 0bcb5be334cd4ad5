"""search-ranges: ranges of activations that make the error of the outputs small."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.observer import AnyObserver
from onnxq.graph import Model, is_constant
from onnxq.passes.correct._variants import Bench, Variant
from onnxq.passes.correct._wide import has_room
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.range_choice import RangeChoice
from onnxq.pipeline.scale_groups import ScaleGroup, scale_groups
from onnxq.quant import QParams
from onnxq.quant.choose import qparams_from_range

_COARSE = (0.25, 0.5, 1.6)
"""What the range in use is multiplied by first; then the two halfway to the best's neighbours."""
_PARTS = 8
"""By how much of those that changed, at a time, more are tried together."""

Array = NDArray[np.float64]
Result = tuple[Array, QParams]
"""Noise by sample, and the scale that made it."""

_CHOICE = RangeChoice("search-ranges", "least noise at the outputs of the last integer layers", {})


@dataclass(frozen=True, kw_only=True)
class SearchRanges(Pass):
    """Choose ranges of activations by what rounding them does to the outputs.

    What it does
        Rounds one activation after the other, everything else in float, and measures the noise
        where the last integer layers write. Of those that make more than a small share of it,
        narrower and wider ranges are tried, and the one with the least noise there is taken. Where
        ``runs`` is given, tensors near the outputs come first, for which little has to be run
        again, then those that make most noise for what their search costs.

    Why
        The error of the tensor itself misleads. Behind a pooled tensor rounding averages out and
        clipping does not: it wants a wide range. Where a ReLU6 or few weights wait for the largest
        values, they may be clipped, and the others get finer steps.

    Example
        ``choose-ranges{method=mse},search-ranges``

    When it declines
        Ranges that do not lower the noise together with those that gain more, and models where a
        node with sub-graphs (If, Loop) lies in front of the last integer layers.

    Numerics
        What channels of the outputs are off by on average counts a tenth: biases take it later.
        Each tensor is searched alone, as if noise simply added up. What is cut off adds up to
        more, so ranges are then tried together, on twice as many samples: those that gain most,
        from none to all in eighths. As few are kept as leave the least noise, give or take one
        standard error of the difference over samples.

    Source
        Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 3.1 (ranges by
        an error measure); the measure at the outputs, as in Nahshan et al. 2019, "Loss Aware
        Post-Training Quantization". The rule of one standard error: Breiman et al. 1984,
        "Classification and Regression Trees", section 3.4.3.

    Attributes:
        samples: how many samples a range is judged on, from the first on.
        share: tensors that make less of the noise, as a share of all of it, are left; ranges that
            differ by less are alike. Of those that are alike the one in use stays, or the widest is
            taken, since larger values than those seen will come.
        runs: about how many runs of the whole model the search may take, counted in
            multiply-accumulates; a quarter of them to find out what makes noise.
    """

    name: ClassVar[str] = "search-ranges"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0
    needs_samples: ClassVar[bool] = True

    samples: int = 16
    share: float = 0.005
    runs: float = math.inf

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
        costs = {g.rounded[0]: bench.runs(g.rounded) for g in groups}
        look = max(self.samples // 8, 1)
        groups = _within(self.runs / 4, groups[::-1], {n: c * look for n, c in costs.items()})
        ranges = {g.rounded[0]: ctx.qparams[g.rounded[0]] for g in groups}
        made = bench.noise(ctx, [_variant(g, ranges) for g in groups], look).tolist()
        loud = [(n / max(costs[g.rounded[0]], 1e-9), g) for g, n in zip(groups, made, strict=True)
                if n > self.share * sum(made)]  # fmt: skip
        loud.sort(key=lambda found: -found[0])
        trials = self.samples * (1 + len(_COARSE) + 2)
        price = {n: c * trials for n, c in costs.items()}
        searched = _within(self.runs / 2, [g for _, g in loud], price)
        found, gains = self._best(bench, searched, ctx, self.share * sum(made))
        changed = [g for g in searched if found[g.rounded[0]] is not ranges[g.rounded[0]]]
        changed.sort(key=lambda g: -gains[g.rounded[0]])
        taken = self._taken(bench, changed, ranges, found, ctx)
        for group in changed[taken:]:
            ctx.decline(group.rounded[0], "the noise at the outputs would not go down")
        for group in changed[:taken]:
            for name in group.tensors:
                ctx.qparams[name] = found[group.rounded[0]]
            ctx.choices.update(dict.fromkeys(group.rounded, _CHOICE))

    def _taken(
        self,
        bench: Bench,
        changed: list[ScaleGroup],
        ranges: Mapping[str, QParams],
        found: Mapping[str, QParams],
        ctx: Context,
    ) -> int:
        """How many of *changed*, from the first on, take what was *found*: see Numerics."""
        if not changed:
            return 0
        counts = sorted({-(-len(changed) * part // _PARTS) for part in range(_PARTS + 1)})
        together = [
            {
                name: q
                for at, group in enumerate(changed)
                for name, q in _variant(group, found if at < count else ranges).items()
            }
            for count in counts
        ]
        noise = bench.by_sample(ctx, together, 2 * self.samples, centred=True)
        least = noise[:, noise.mean(axis=0).argmin()]
        return next(c for c, n in zip(counts, noise.T, strict=True) if _alike(n, least))

    def _best(
        self, bench: Bench, groups: list[ScaleGroup], ctx: Context, little: float
    ) -> tuple[dict[str, QParams], dict[str, float]]:
        """The range of each group, and what it gains; both by its first tensor.

        Of ranges whose noise is *little* more than the least, or no more that samples could tell,
        it is the one in use, or the widest.
        """
        now = {g.rounded[0]: ctx.qparams[g.rounded[0]] for g in groups}
        seen: dict[str, dict[float, Result]] = {name: {} for name in now}
        wanted: dict[str, tuple[float, ...]] = dict.fromkeys(now, (1.0, *_COARSE))
        for _ in range(2):
            trials = [(g, f, self._scaled(g, f, ctx)) for g in groups for f in wanted[g.rounded[0]]]
            variants = [_variant(g, {g.rounded[0]: q}) for g, _, q in trials]
            noise = bench.by_sample(ctx, variants, self.samples, centred=True)
            for (group, factor, q), found in zip(trials, noise.T, strict=True):
                seen[group.rounded[0]][factor] = found, q
            wanted = {name: _beside(results) for name, results in seen.items()}
        chosen: dict[str, QParams] = {}
        gains: dict[str, float] = {}
        for name, results in seen.items():
            least = min(results.values(), key=_mean)
            alike = (
                result
                for result in results.values()
                if _mean(result) - _mean(least) <= little or _alike(result[0], least[0])
            )
            best = max(alike, key=lambda result: (result[1] is now[name], float(result[1].scale)))
            chosen[name], gains[name] = best[1], _mean(results[1.0]) - _mean(best)
        return chosen, gains

    def _groups(self, model: Model, ctx: Context) -> list[ScaleGroup]:
        """Groups of activations whose range is free, and matters."""
        constants = frozenset(n for n, t in model.tensors().items() if is_constant(t))
        return [
            g
            for g in scale_groups(ctx.plan, constants)
            if g.fixed is None
            and g.spec is not None
            and g.rounded
            and not has_room(g.spec, ctx.target)
        ]

    def _scaled(self, group: ScaleGroup, factor: float, ctx: Context) -> QParams:
        """The range in use times *factor*, within what was seen."""
        now = ctx.qparams[group.rounded[0]]
        if factor == 1:
            return now
        low, high = now.real_range
        ends = low * factor, high * factor
        if factor > 1:
            seen = [ctx.statistics.get(n, Extremes()).bounds for n in group.rounded]
            least, most = min(s[0] for s in seen), max(s[1] for s in seen)
            ends = max(ends[0], min(least, low)), min(ends[1], max(most, high))
        assert group.spec is not None
        return qparams_from_range(*ends, group.spec)


def _within(
    runs: float, groups: Sequence[ScaleGroup], costs: Mapping[str, float]
) -> list[ScaleGroup]:
    """The first of *groups* whose *costs* by first tensor add up to *runs*, cheaper ones after."""
    found = []
    for group in groups:
        if costs[group.rounded[0]] <= runs:
            runs -= costs[group.rounded[0]]
            found.append(group)
    return found


def _alike(noise: Array, least: Array) -> bool:
    """Whether *noise* by sample is larger than *least* by no more than one standard error."""
    more = noise - least
    error = more.std(ddof=1) / math.sqrt(more.size) if more.size > 1 else 0.0
    return bool(more.mean() <= error)


def _mean(result: Result) -> float:
    return float(result[0].mean())


def _beside(results: Mapping[float, Result]) -> tuple[float, float]:
    """Factors halfway to those beside the best of *results* so far."""
    tried = sorted(results)
    best = min(tried, key=lambda f: _mean(results[f]))
    at = tried.index(best)
    below = tried[at - 1] if at else best / 2
    above = tried[at + 1] if at + 1 < len(tried) else best * 2
    return math.sqrt(best * below), math.sqrt(best * above)


def _variant(group: ScaleGroup, of: Mapping[str, QParams]) -> Variant:
    return dict.fromkeys(group.rounded, of[group.rounded[0]])
