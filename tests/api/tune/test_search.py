"""The search on networks whose noise is known: no model is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from onnxq.api.tune.budgets import Budgets
from onnxq.api.tune.build import Prices
from onnxq.api.tune.candidate import Candidate, Measured
from onnxq.api.tune.noise import LayerNoise
from onnxq.api.tune.problem import BITS
from onnxq.api.tune.search import Plan, Search
from onnxq.pipeline.progress import Silent

COUNT = 30
FLOAT = 1_000_000


def layers(bits: int, seed: int = 0) -> list[LayerNoise]:
    """A chain of layers; the weights of few make most of the noise, those of few most bytes."""
    rng = np.random.default_rng(seed)
    weights, stored = rng.lognormal(0, 2, COUNT), rng.dirichlet(np.ones(COUNT)) * FLOAT / 4
    rounding = rng.lognormal(0, 1, COUNT) * 1e-5
    return [
        LayerNoise(
            f"l{i}", "Conv", 1e-5 * weights[i] * (200 if bits == 4 else 1), rounding[i],
            rounding[i], (f"t{i}",), f"t{i + 1}", 1e6, 1000, int(stored[i]),
        )
        for i in range(COUNT)
    ]  # fmt: skip


class Network:
    """Measures candidates by a formula that the prediction does not know exactly.

    *worse* multiplies the noise by recipe; noise grows faster than its sum.
    """

    def __init__(self, worse: dict[str, float]) -> None:
        self.worse, self.seen = worse, list[Candidate]()

    def noise_of(self, candidate: Candidate) -> list[LayerNoise]:
        return layers(4 if candidate.layers else 8)

    def measure(self, candidates: Sequence[Candidate]) -> list[Measured]:
        self.seen += candidates
        return [self._one(c) for c in candidates]

    def _one(self, candidate: Candidate) -> Measured:
        given = dict(candidate.layers)
        noise, size, integer = 0.0, 10_000.0, 0
        for eight, four in zip(layers(8), layers(4), strict=True):
            precision = given.get(eight.node, "8")
            size += eight.stored * BITS[precision] / 8
            if precision in ("8", "4"):
                integer += 1
                noise += (eight if precision == "8" else four).weights + eight.output
        noise = 1.3 * self.worse[candidate.recipe] * noise**1.05
        return Measured(
            noise=noise, sqnr_db=-10 * np.log10(max(noise, 1e-99)), drop=100 * noise,
            bytes=int(size), macs={"8": 100 * integer / COUNT}, seconds=0.0,
        )  # fmt: skip


def plan(budgets: Budgets, **options: object) -> Plan:
    base = Plan(
        recipes=("plain", "good"), budgets=budgets, prices=Prices(), bytes_float=FLOAT, points=0
    )
    return replace(base, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [0.05, 0.3, 2.0])
def test_accuracy_is_kept_at_nearly_the_least_cost(limit: float) -> None:
    network = Network({"plain": 2.0, "good": 1.0})
    search = Search(plan(Budgets(max_drop=limit)), network.measure, network.noise_of, Silent())
    best = search.run()
    measured = len(network.seen)
    assert search.found.measured[best].drop <= limit
    # of all corners of both fronts none that keeps to the budget costs notably less
    every = [
        Candidate.of(recipe, point.chosen)
        for recipe, points in search.found.points.items()
        for point in points
    ]
    kept = {c: m for c in every if (m := network._one(c)).drop <= limit}
    search.found.measured |= kept
    assert search.cost(best) <= min(map(search.cost, kept)) + 0.003
    assert measured <= 20 < len(every)


def test_size_is_kept_with_the_most_accuracy() -> None:
    network = Network({"plain": 2.0, "good": 1.0})
    budgets = Budgets(max_size=0.2 * FLOAT)
    search = Search(plan(budgets), network.measure, network.noise_of, Silent())
    best = search.run()
    assert search.found.measured[best].bytes <= 0.2 * FLOAT
    assert best.recipe == "good"
    half = network._one(Candidate.of("good", {f"l{i}": "4" for i in range(COUNT)}))
    assert search.found.measured[best].drop < half.drop / 3


def test_a_spare_recipe_is_tried_only_where_it_may_help() -> None:
    network = Network({"plain": 2.0, "good": 1.0})
    for limit, tried in ((2.0, False), (0.01, True)):
        search = Search(
            plan(Budgets(max_drop=limit), spare=("good",)), network.measure, network.noise_of,
            Silent(),
        )  # fmt: skip
        search.run()
        assert ("good" in search.found.problems) == tried
        assert ("good" in search.found.skipped) != tried


def test_compute_is_limited() -> None:
    network = Network({"plain": 1.0})
    budgets = Budgets(max_drop=0.02, min_macs={"8": 40.0})
    search = Search(plan(budgets, recipes=("plain",)), network.measure, network.noise_of, Silent())
    best = search.run()
    problem = search.found.problems["plain"]
    chosen = {f"l{i}": dict(best.layers).get(f"l{i}", "8") for i in range(COUNT)}
    assert budgets.uneven(problem.macs(chosen)) == []


class Timed(Network):
    """The same where integers pay in few layers, and the machine is 1.5 times as slow as said."""

    def __init__(self, *, said: bool) -> None:
        super().__init__({"plain": 1.0})
        rng = np.random.default_rng(1)
        floating = rng.dirichlet(np.ones(COUNT)) * 1e-3
        self.times = [
            (f, f * r) for f, r in zip(floating, rng.uniform(0.2, 1.4, COUNT), strict=True)
        ]
        self.said = said

    def noise_of(self, candidate: Candidate) -> list[LayerNoise]:
        found = super().noise_of(candidate)
        if not self.said:
            return found
        return [replace(layer, seconds=t) for layer, t in zip(found, self.times, strict=True)]

    def _one(self, candidate: Candidate) -> Measured:
        given = dict(candidate.layers)
        seconds = sum(
            t[given.get(f"l{i}", "8") not in ("float", "16")] for i, t in enumerate(self.times)
        )
        return super()._one(candidate).timed(1.5e3 * seconds, 1e-3 / seconds)


def test_latency_is_predicted_before_it_is_measured() -> None:
    tried = {}
    for said in (True, False):
        network = Timed(said=said)
        eight = network._one(Candidate("plain")).latency_ms or 0.0
        budgets = Budgets(max_latency=0.95 * eight)
        asked = plan(
            budgets, recipes=("plain",), allowed=("float", "8"), prices=Prices(size=0.0, time=1.0)
        )
        search = Search(asked, network.measure, network.noise_of, Silent())
        best = search.run()
        tried[said] = len(network.seen)
        found = network._one(best)
        assert bool(budgets.missed(found)) is not said
        if said:  # float is faster in some layers: it takes those, and no more than it has to
            assert (found.latency_ms or 0) > 0.9 * eight
            kept = {node for node, precision in best.layers if precision == "float"}
            assert kept >= {f"l{i}" for i, (f, q) in enumerate(network.times) if f < q}
    assert tried[True] <= 4


def test_time_ends_the_search_and_is_told() -> None:
    network = Network({"plain": 1.0, "good": 1.0})
    search = Search(
        plan(Budgets(max_drop=0.3), max_seconds=0.0), network.measure, network.noise_of, Silent()
    )
    search.run()
    assert len(network.seen) == 2 and not search.found.in_time
    assert search.found.skipped == {"good": "the time was used up"}
