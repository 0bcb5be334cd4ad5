from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.api.tune.cut import hull, solve
from onnxq.api.tune.problem import BITS, Layer, Problem

AMOUNT = st.floats(0.001, 1.0).map(lambda v: round(v, 3))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    count = draw(st.integers(1, 4))
    tensors = [f"t{i}" for i in range(draw(st.integers(1, 4)))]
    layers = []
    for i in range(count):
        allowed = draw(st.sampled_from([("float", "16", "8", "4"), ("float", "8"), ("8", "4")]))
        loud, each = draw(AMOUNT), draw(AMOUNT)
        noise = {p: loud * 4.0 ** -BITS[p] if p != "float" else 0.0 for p in allowed}
        cost = {p: each * BITS[p] for p in allowed}
        at = draw(st.lists(st.sampled_from(tensors), max_size=3))
        layers.append(Layer(f"l{i}", noise, cost, tuple(at)))
    rounded = {t: draw(AMOUNT) * 1e-4 for t in tensors}
    converted = {t: draw(AMOUNT) for t in tensors}
    return Problem(tuple(layers), rounded, converted)


def all_of(problem: Problem) -> list[tuple[float, float]]:
    """Noise and cost of every choice there is."""
    names = [layer.node for layer in problem.layers]
    choices = product(*(layer.noise for layer in problem.layers))
    found = [dict(zip(names, c, strict=True)) for c in choices]
    return [(problem.noise(c), problem.cost(c)) for c in found]


@settings(max_examples=60, deadline=None)
@given(problems(), st.floats(1e-9, 1e-2))
def test_a_cut_is_the_best_of_all_choices(problem: Problem, price: float) -> None:
    found = solve(problem, price)
    best = min(n + price * c for n, c in all_of(problem))
    assert found.noise + price * found.cost == pytest.approx(best, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(problems())
def test_the_hull_has_the_best_choice_at_every_price(problem: Problem) -> None:
    points = hull(problem)
    every = all_of(problem)
    for price in (1e-8, 1e-6, 1e-4, 1e-2):
        best = min(n + price * c for n, c in every)
        found = min(p.noise + price * p.cost for p in points)
        assert found <= best * (1 + 1e-6)
    assert all(a.noise <= b.noise and a.cost > b.cost for a, b in pairwise(points))


def test_float_pays_only_as_a_region() -> None:
    """One layer in float beside integers keeps no activation from being rounded; both do."""
    layers = tuple(
        Layer(f"l{i}", {"float": 0.0, "8": 1e-9}, {"float": 1.0, "8": 0.5}, ("t",)) for i in (0, 1)
    )
    problem = Problem(layers, {"t": 1e-3})
    assert set(solve(problem, 9e-4).chosen.values()) == {"float"}
    assert set(solve(problem, 2e-3).chosen.values()) == {"8"}
    mixed = {"l0": "float", "l1": "8"}
    assert problem.noise(mixed) == pytest.approx(1e-3 + 1e-9)
    assert problem.macs(mixed) == {}


def test_no_layers() -> None:
    assert hull(Problem((), {})) == []
