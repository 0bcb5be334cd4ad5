"""The search: what rounding does is measured once, the front is predicted, its corners verified.

Not brute force: of the corners of the predicted front a handful is quantized for real, those where
the budgets are expected to be met, and some more for the picture.

Source: Cai et al. 2020 (ZeroQ) for the front from sensitivities; AMD Quark's and NNCF's
accuracy-aware quantization for verifying on the user's metric; ONNX Runtime's "quantization
debugging" for sensitivities from one quantized model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from onnxq.api.tune.budgets import Budgets
from onnxq.api.tune.build import Prices, build
from onnxq.api.tune.candidate import Candidate, Measured
from onnxq.api.tune.cut import Point, hull
from onnxq.api.tune.noise import LayerNoise
from onnxq.api.tune.problem import Problem
from onnxq.api.tune.walk import Forecast, walk
from onnxq.pipeline.progress import Progress
from onnxq.targets import PRECISIONS

Measure = Callable[[Sequence[Candidate]], list[Measured]]
NoiseOf = Callable[[Candidate], list[LayerNoise]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a search is about.

    Attributes:
        recipes: names of recipes, in the order in which they are tried.
        spare: recipes among them that are tried only where the others leave layers in float.
        allowed: precisions that may be chosen.
        budgets, prices: what to keep to, and what is dear.
        bytes_float: size of the float model.
        points: corners of the front that are measured for the picture.
        most: candidates that are measured for a recipe while budgets are sought.
        width: how many are measured at once.
        max_seconds: after that time no further candidate begins; None for no limit.
    """

    recipes: tuple[str, ...]
    spare: tuple[str, ...] = ()
    allowed: tuple[str, ...] = PRECISIONS
    budgets: Budgets
    prices: Prices
    bytes_float: int
    points: int = 4
    most: int = 12
    width: int = 1
    max_seconds: float | None = None


@dataclass
class Found:
    """What the search knows.

    Attributes:
        measured: by candidate, in the order in which they were measured.
        problems: by recipe, the problem that was solved.
        points: by recipe, corners of the predicted front.
        forecasts: by recipe, predictions corrected by measurements.
        skipped: by recipe, why it was not tried.
        in_time: whether nothing was left out for lack of time.
    """

    measured: dict[Candidate, Measured] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    points: dict[str, list[Point]] = field(default_factory=dict)
    forecasts: dict[str, Forecast] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    in_time: bool = True

    def time(self, candidate: Candidate) -> float:
        """The time of *candidate*, predicted, as a share of the float network's."""
        problem = self.problems[candidate.recipe]
        return problem.time(chosen_of(candidate, problem))


class Search:
    """Finds precisions.

    Args:
        plan: what it is about.
        measure: measures candidates.
        noise_of: what rounding in each layer of a candidate does.
        progress: told of candidates.
    """

    def __init__(self, plan: Plan, measure: Measure, noise_of: NoiseOf, progress: Progress) -> None:
        self.plan, self._measure, self._noise_of = plan, measure, noise_of
        self.progress, self.found = progress, Found()
        self._start = perf_counter()

    def run(self) -> Candidate:
        """The best candidate: one that meets all budgets, else that which comes nearest."""
        for recipe in self.plan.recipes:
            if recipe in self.plan.spare and (why := self._content()):
                self.found.skipped[recipe] = why
                continue
            if self.found.measured and self._late():
                self.found.skipped[recipe] = "the time was used up"
                continue
            self._prepare(recipe)
            self._seek(recipe)
        best = self.best()
        self._picture(best.recipe)
        return self.best()

    def best(self) -> Candidate:
        """The best of what was measured."""
        budgets, found = self.plan.budgets, self.found

        def rank(candidate: Candidate) -> tuple[float, ...]:
            m = found.measured[candidate]
            if budgets.missed(m):
                return 1.0, budgets.excess(m), m.drop
            if budgets.accuracy:
                return 0.0, round(self.cost(candidate), 9), m.drop
            return 0.0, m.drop, self.cost(candidate)

        return min(found.measured, key=rank)

    def cost(self, candidate: Candidate) -> float:
        """The cost of *candidate* as a share of the float network's, with its measured size."""
        prices = self.plan.prices
        size = self.found.measured[candidate].bytes / max(self.plan.bytes_float, 1)
        return prices.size * size + prices.time * self.found.time(candidate)

    def _content(self) -> str:
        """Why no other recipe needs to be tried."""
        if not self.found.measured:
            return ""
        best = self.best()
        if self.plan.budgets.missed(self.found.measured[best]):
            return ""
        if {"float", "16"} & set(best.counts()):
            return ""
        return f"'{best.recipe}' keeps to the budgets with every layer in integers"

    def _late(self) -> bool:
        limit = self.plan.max_seconds
        late = limit is not None and perf_counter() - self._start > limit
        if late:
            self.found.in_time = False
        return late

    def _prepare(self, recipe: str) -> None:
        """Measure *recipe* with 8 bits everywhere and with 4 where possible: the problem."""
        plan, found = self.plan, self.found
        first = Candidate(recipe)
        self._all([first])
        eight = self._noise_of(first)
        four: list[LayerNoise] = []
        weak = Candidate.of(recipe, {layer.node: "4" for layer in eight if layer.stored})
        if "4" in plan.allowed and weak.layers:
            self._all([weak])
            four = self._noise_of(weak)
        total = sum(layer.macs for layer in eight)
        share = sum(v for p, v in found.measured[first].macs.items() if p in ("8", "4"))
        macs = 100.0 * total / share if share else total
        problem = build(
            eight, four, allowed=plan.allowed, bytes_float=plan.bytes_float, macs=macs,
            prices=plan.prices,
        )  # fmt: skip
        found.problems[recipe] = problem
        found.points[recipe] = hull(problem)
        forecast = found.forecasts[recipe] = Forecast()
        for candidate in (first, weak):
            chosen = chosen_of(candidate, problem)
            known = all(chosen[layer.node] in layer.noise for layer in problem.layers)
            if candidate in found.measured and known:
                forecast.learn(problem.noise(chosen), found.measured[candidate].noise)

    def _seek(self, recipe: str) -> None:
        """Measure corners of the front until the budgets are known to be met, or not."""
        budgets, found = self.plan.budgets, self.found
        problem = found.problems[recipe]
        points = [p for p in found.points[recipe] if not budgets.uneven(problem.macs(p.chosen))]
        if not points:
            return
        forecast = found.forecasts[recipe]
        base = found.measured[Candidate(recipe)]
        weights = problem.saved({layer.node: "8" for layer in problem.layers})
        limit = _noise_limit(budgets, base)

        def accurate(index: int) -> bool:
            return forecast.noise(points[index].noise) <= (limit or 0.0)

        def small(index: int) -> bool:
            saved = problem.saved(points[index].chosen)
            return base.bytes + weights - saved <= (budgets.max_size or 0.0)

        everywhere = max(problem.time({layer.node: "8" for layer in problem.layers}), 1e-12)

        def fast(index: int) -> bool:
            """Whether the time is expected to do: that measured at 8 bits, by what is predicted."""
            ratio = problem.time(points[index].chosen) / everywhere
            latency, speed = base.latency_ms or 0.0, base.speedup or np.inf
            slow = budgets.max_latency is not None and latency * ratio > budgets.max_latency
            return not slow and speed >= (budgets.min_speedup or 0.0) * ratio

        def check(conditions: Callable[[Measured], list[str]]) -> Callable[..., list[bool]]:
            def good(indices: Sequence[int]) -> list[bool]:
                candidates = [Candidate.of(recipe, points[i].chosen) for i in indices]
                return [not conditions(m) for m in self._all(candidates, points, indices)]

            return good

        options = {"width": self.plan.width, "most": self.plan.most}
        if budgets.accuracy:
            guess = None if limit is None else accurate
            walk(points, check(budgets.inaccurate), guess, last=True, **options)
        if budgets.timed or budgets.max_size is not None:
            cheap = fast if budgets.max_size is None else lambda i: small(i) and fast(i)
            walk(points, check(budgets.costly), cheap, last=False, **options)
        if not budgets.accuracy and not budgets.timed and budgets.max_size is None:
            check(budgets.inaccurate)([0])

    def _picture(self, recipe: str) -> None:
        """Measure corners all along the front of *recipe*, evenly in dB."""
        found = self.found
        points = [p for p in found.points[recipe] if p.noise > 0]
        if len(points) < 2 or self.plan.points < 1:
            return
        levels = np.log([p.noise for p in points])
        wanted = np.linspace(levels[0], levels[-1], self.plan.points + 2)[1:-1]
        indices = sorted({int(np.abs(levels - w).argmin()) for w in wanted})
        candidates = [Candidate.of(recipe, points[i].chosen) for i in indices]
        self._all(candidates, points, indices)

    def _all(
        self,
        candidates: Sequence[Candidate],
        points: Sequence[Point] = (),
        indices: Sequence[int] = (),
    ) -> list[Measured]:
        """Measure those of *candidates* that are not known, and learn from them."""
        found = self.found
        new = [c for c in dict.fromkeys(candidates) if c not in found.measured]
        if new and not (points and self._late()):
            self.progress.stage(f"tuning: {len(found.measured) + 1} candidates")
            found.measured.update(zip(new, self._measure(new), strict=True))
        for candidate, index in zip(candidates, indices, strict=False):
            if candidate in new and candidate in found.measured:
                forecast = found.forecasts[candidate.recipe]
                forecast.learn(points[index].noise, found.measured[candidate].noise)
        return [found.measured.get(c, _UNKNOWN) for c in candidates]


_UNKNOWN = Measured(
    noise=np.inf, sqnr_db=-999.0, drop=np.inf, bytes=1 << 62, macs={}, seconds=0.0,
    latency_ms=np.inf, speedup=0.0,
)  # fmt: skip
"""What a candidate counts as for which no time was left."""


def chosen_of(candidate: Candidate, problem: Problem) -> dict[str, str]:
    """The precisions of *candidate*, by layer of *problem*."""
    given = dict(candidate.layers)
    return {layer.node: given.get(layer.node, "8") for layer in problem.layers}


def _noise_limit(budgets: Budgets, base: Measured) -> float | None:
    """The noise to signal that *budgets* allow; None where it depends on a metric."""
    if base.metric is not None and budgets.max_drop is not None:
        return None
    limits = []
    if budgets.max_drop is not None:
        limits.append(budgets.max_drop / 100)
    if budgets.min_sqnr is not None:
        limits.append(10 ** (-budgets.min_sqnr / 10))
    return min(limits, default=None)
