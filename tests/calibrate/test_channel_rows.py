"""Means of channels, sample by sample: merging keeps their order, arrays keep all."""

from __future__ import annotations

import numpy as np

from onnxq.calibrate.channel_rows import ChannelRows, stacked

RNG = np.random.default_rng(4)
SAMPLES = [RNG.normal(size=(2, 3, 4)).astype(np.float32) for _ in range(5)]


def test_merging_at_any_place_gives_the_same() -> None:
    observer = ChannelRows(1)
    whole = observer.init()
    for i, x in enumerate(SAMPLES):
        whole = observer.update(whole, i, x)
    expected = [x.mean(axis=(0, 2)) for x in SAMPLES]
    np.testing.assert_allclose(stacked(whole), expected, rtol=1e-5, atol=1e-7)
    for cut in range(len(SAMPLES) + 1):
        a, b = whole[:cut], whole[cut:]
        assert observer.merge(b, a) == whole
    again = observer.from_arrays(observer.to_arrays(whole))
    np.testing.assert_array_equal(stacked(again), stacked(whole))


def test_nothing_seen_is_empty() -> None:
    observer = ChannelRows(1)
    assert observer.update(observer.init(), 0, np.empty((0, 3, 4), np.float32)) == ()
    assert stacked(()).size == 0
