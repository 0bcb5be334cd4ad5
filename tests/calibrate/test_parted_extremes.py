"""The first samples apart from the others; exact whatever the order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxq.calibrate.channel_extremes import ChannelExtremes
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
