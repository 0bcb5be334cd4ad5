"""Observers are monoids: however samples are split and ordered, the state has the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.grid import bin_index, coarsen, finest_exponent
from onnxq.calibrate.histogram import Histogram

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TAME = st.floats(-1e4, 1e4, width=32)
SAMPLES = st.lists(
    arrays(np.float32, st.integers(0, 20), elements=st.one_of(FLOATS, TAME, st.just(0.0))),
    min_size=1,
    max_size=6,
)
OBSERVERS = (Extremes(), Histogram(), Histogram(bins=2), Histogram(bins=7))


def bits(observer, state):
    return {k: (v.dtype, v.tobytes()) for k, v in observer.to_arrays(state).items()}


def run(observer, samples, first=0):
    state = observer.init()
    for i, x in enumerate(samples, first):
        state = observer.update(state, i, x)
    return state


@pytest.mark.parametrize("observer", OBSERVERS, ids=lambda o: o.key)
@given(samples=SAMPLES)
@settings(deadline=None)
def test_merge_equals_sequential_at_every_split(observer, samples):
    whole = bits(observer, run(observer, samples))
    for cut in range(len(samples) + 1):
        a, b = run(observer, samples[:cut]), run(observer, samples[cut:], cut)
        assert bits(observer, observer.merge(a, b)) == whole
        assert bits(observer, observer.merge(b, a)) == whole


@pytest.mark.parametrize("observer", OBSERVERS, ids=lambda o: o.key)
@given(samples=SAMPLES, order=st.randoms())
@settings(deadline=None)
def test_order_of_samples_and_of_merging_does_not_matter(observer, samples, order):
    whole = bits(observer, run(observer, samples))
    numbered = list(enumerate(samples))
    order.shuffle(numbered)
    shuffled = observer.init()
    parts = []
    for i, x in numbered:
        shuffled = observer.update(shuffled, i, x)
        parts.append(observer.update(observer.init(), i, x))
    assert bits(observer, shuffled) == whole
    while len(parts) > 1:
        a, b = parts.pop(order.randrange(len(parts))), parts.pop(order.randrange(len(parts)))
        parts.append(observer.merge(a, b))
    assert bits(observer, parts[0]) == whole


@pytest.mark.parametrize("observer", OBSERVERS, ids=lambda o: o.key)
@given(samples=SAMPLES)
def test_arrays_restore_the_state(observer, samples):
    state = run(observer, samples)
    restored = observer.from_arrays(observer.to_arrays(state))
    assert bits(observer, restored) == bits(observer, state)
    assert restored.bounds == state.bounds


@given(x=arrays(np.float32, st.integers(1, 50), elements=FLOATS), bins=st.integers(2, 300))
@settings(deadline=None)
def test_histogram_counts_every_value_in_its_bin(x, bins):
    observer = Histogram(bins)
    state = observer.update(observer.init(), 0, x)
    expected = np.zeros(state.counts.size, np.int64)
    for value in x.tolist():
        expected[bin_index(value, state.exponent) - state.start] += 1
    assert state.counts.tolist() == expected.tolist()
    assert state.counts.size <= bins
    assert state.counts[0] and state.counts[-1]
    assert (state.low, state.high) == (x.min(), x.max())


@given(low=FLOATS, high=FLOATS, bins=st.integers(2, 5000))
def test_the_grid_is_the_finest_that_fits(low, high, bins):
    low, high = min(low, high), max(low, high)
    e = finest_exponent(low, high, bins)
    assert bin_index(high, e) - bin_index(low, e) < bins
    reach = max(abs(low), abs(high))
    finer_fits = bin_index(high, e - 1) - bin_index(low, e - 1) < bins
    assert not finer_fits or e == -126 or reach * 2.0 ** -(e - 1) >= 2**24 - 1


@given(
    counts=arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 9)),
    start=st.integers(-(2**24), 2**24),
    first=st.integers(0, 30),
    second=st.integers(0, 60),
)
def test_coarsening_twice_is_coarsening_once(counts, start, first, second):
    once = coarsen(counts, start, first + second)
    twice = coarsen(coarsen(counts, start, first), start >> first, second)
    assert once.tolist() == twice.tolist()
    assert once.sum() == counts.sum()


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_weights_count_values_that_often(seed, rows):
    """A histogram with weights is that of values written down as often."""
    rng = np.random.default_rng(seed)
    weights = tuple(int(w) for w in rng.integers(1, 5, 3))
    x = rng.normal(size=(rows, 3, 4)).astype(np.float32)
    found = Histogram(weights=weights).update(Histogram().init(), 0, x)
    often = np.concatenate([np.repeat(x[:, c].ravel(), w) for c, w in enumerate(weights)])
    plain = Histogram(values=1 << 20).update(Histogram().init(), 0, often)
    assert (found.exponent, found.start) == (plain.exponent, plain.start)
    np.testing.assert_array_equal(found.counts, plain.counts)
