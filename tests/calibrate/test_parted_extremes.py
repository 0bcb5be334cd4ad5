"""The first samples apart from the others; exact whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.calibrate.channel_extremes import ChannelExtremes
from onnxq.calibrate.driver import look_at
from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.parted_extremes import PartedExtremes

OBSERVER = PartedExtremes(apart=4)


def run(numbered):
    state = OBSERVER.init()
    for i, x in numbered:
        state = OBSERVER.update(state, i, x)
    return state


def bits(state):
    return {k: v.tobytes() for k, v in OBSERVER.to_arrays(state).items()}


@given(st.integers(0, 10**6), st.integers(1, 12), st.randoms())
def test_laws(seed: int, count: int, order) -> None:
    samples = np.random.default_rng(seed).normal(size=(count, 1, 3, 5)).astype(np.float32)
    numbered = list(enumerate(samples))
    whole = run(numbered)
    for cut in range(count + 1):
        merged = OBSERVER.merge(run(numbered[cut:]), run(numbered[:cut]))
        assert bits(merged) == bits(whole)
    order.shuffle(numbered)
    assert bits(run(numbered)) == bits(whole)
    assert bits(OBSERVER.from_arrays(OBSERVER.to_arrays(whole))) == bits(whole)
    every = ChannelExtremes()
    state = every.init()
    for i, x in enumerate(samples):
        state = every.update(state, i, x)
    np.testing.assert_array_equal(whole.magnitude, state.magnitude)


def test_fitted_are_the_later_ones_where_they_are_enough() -> None:
    samples = [np.full((1, 2, 1), 10.0 - i, np.float32) for i in range(8)]
    few = run(list(enumerate(samples[:7])))
    assert few.fitted.tolist() == few.magnitude.tolist() == [10, 10]
    enough = run(list(enumerate(samples)))
    assert enough.fitted.tolist() == [6, 6] and enough.magnitude.tolist() == [10, 10]


@pytest.mark.parametrize("bad", [[], [np.nan], [np.inf], [-np.inf, np.nan]])
def test_one_reading_gives_channels_and_the_whole(bad: list[float]) -> None:
    """And values that are not finite are left out of both, also in a channel of nothing else."""
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 5)).astype(np.float32)
    for i, value in enumerate(bad):
        x[i % 2, 1, 0, i] = x[:, 2] = value
    whole, parted, every = Extremes(), PartedExtremes(), ChannelExtremes()
    looks, left_out = look_at((whole, parted, every), x)
    assert left_out == (~np.isfinite(x)).sum()
    kept = np.where(np.isfinite(x), x, np.nan)
    assert looks[whole] == (np.nanmin(kept), np.nanmax(kept))
    for observer in (parted, every):
        found = looks[observer]
        np.testing.assert_array_equal(found.low, np.fmin.reduce(kept, axis=(0, 2, 3)))
        np.testing.assert_array_equal(found.high, np.fmax.reduce(kept, axis=(0, 2, 3)))
