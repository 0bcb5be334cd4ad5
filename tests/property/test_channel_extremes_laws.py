"""Extremes by channel are a monoid over samples, and pass over NaN."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from onnxq.calibrate.channel_extremes import ChannelExtremes, ChannelExtremesState

OBSERVER = ChannelExtremes()
VALUES = st.one_of(st.floats(width=32, allow_infinity=False), st.sampled_from([0.0, -0.0, 1.0]))
SHAPES = st.tuples(st.integers(0, 2), st.just(3), st.integers(0, 3))
SAMPLES = st.lists(
    SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=VALUES)), min_size=1, max_size=5
)
Samples = list[NDArray[np.float32]]


def bits(state: ChannelExtremesState) -> dict[str, object]:
    return {k: np.nan_to_num(v, nan=-7).tobytes() for k, v in OBSERVER.to_arrays(state).items()}


def run(samples: Samples) -> ChannelExtremesState:
    state = OBSERVER.init()
    for i, x in enumerate(samples):
        state = OBSERVER.update(state, i, x)
    return state


@given(samples=SAMPLES, order=st.randoms())
@settings(deadline=None)
def test_splits_and_order_do_not_matter(samples: Samples, order: object) -> None:
    whole = bits(run(samples))
    for cut in range(len(samples) + 1):
        a, b = run(samples[:cut]), run(samples[cut:])
        assert bits(OBSERVER.merge(a, b)) == whole
        assert bits(OBSERVER.merge(b, a)) == whole
    assert bits(run(samples[::-1])) == whole
    restored = OBSERVER.from_arrays(OBSERVER.to_arrays(run(samples)))
    assert bits(restored) == whole


@given(samples=SAMPLES)
@settings(deadline=None)
def test_magnitude_is_the_largest_of_each_channel(samples: Samples) -> None:
    expected = np.zeros(3)
    for x in samples:
        for channel in range(3):
            finite = x[:, channel][np.isfinite(x[:, channel])]
            expected[channel] = max(expected[channel], np.abs(finite).max(initial=0))
    found = run(samples).magnitude
    assert found.tolist() == (expected.tolist() if found.size else [])
