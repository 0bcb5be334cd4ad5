from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.api.tune.cut import Point
from onnxq.api.tune.walk import Forecast, walk


def front(count: int) -> list[Point]:
    return [Point({}, 2.0**i, float(count - i)) for i in range(count)]


@given(st.integers(1, 40), st.data(), st.booleans(), st.integers(1, 4), st.booleans())
def test_the_change_is_found(
    count: int, data: st.DataObject, last: bool, width: int, wrong: bool
) -> None:
    change = data.draw(st.integers(0, count))
    asked: list[int] = []

    def good(indices: Sequence[int]) -> list[bool]:
        asked.extend(indices)
        return [(i < change) == last for i in indices]

    def guess(index: int) -> bool:
        return (index < (0 if wrong else change)) == last

    found = walk(front(count), good, guess, last=last, width=width, most=100)
    expected = change - 1 if last else change
    assert found == (expected if 0 <= expected < count else None)
    assert len(asked) == len(set(asked))
    if not wrong and width == 1:
        assert len(asked) <= 4


def test_halving_without_a_guess_and_an_end() -> None:
    asked: list[int] = []

    def good(indices: Sequence[int]) -> list[bool]:
        asked.extend(indices)
        return [i < 37 for i in indices]

    assert walk(front(64), good, None, last=True, most=100) == 36
    assert len(asked) <= 7
    asked.clear()
    assert walk(front(64), good, None, last=True, most=3) == 32  # what is known by then
    assert len(asked) == 3


def test_points_of_the_same_cost_are_not_told_apart() -> None:
    points = [Point({}, 1.0 + i, 0.5 - i * 1e-5) for i in range(50)]
    asked: list[int] = []

    def good(indices: Sequence[int]) -> list[bool]:
        asked.extend(indices)
        return [i < 20 for i in indices]

    found = walk(points, good, None, last=True)
    assert found is not None and len(asked) <= 3


def test_a_forecast_is_corrected_at_both_sides() -> None:
    forecast = Forecast()
    assert forecast.noise(0.1) == 0.1
    forecast.learn(0.01, 0.02)
    assert forecast.noise(0.1) == pytest.approx(0.2)
    forecast.learn(1.0, 0.5)
    assert forecast.noise(0.1) == pytest.approx(0.1)  # halfway between times 2 and times 1/2
    assert forecast.noise(10.0) == pytest.approx(5.0)
    assert forecast.noise(0.0) == 0.0
    forecast.learn(0.0, math.inf)
    assert forecast.noise(1.0) == pytest.approx(0.5)
