"""Means and variances of channels, however the samples are split."""

from __future__ import annotations

import numpy as np

from onnxq.calibrate.channel_moments import ChannelMoments

RNG = np.random.default_rng(11)
SAMPLES = [RNG.normal(size=(2, 3, n)).astype(np.float32) * [[[1], [10], [100]]] for n in (5, 7, 9)]


def test_moments_are_those_of_all_values_and_merge() -> None:
    observer = ChannelMoments()
    whole = observer.init()
    for i, x in enumerate(SAMPLES):
        whole = observer.update(whole, i, x)
    values = np.concatenate([np.moveaxis(x, 1, 0).reshape(3, -1) for x in SAMPLES], axis=1)
    np.testing.assert_allclose(whole.mean, values.mean(axis=1), atol=1e-9)
    np.testing.assert_allclose(whole.variance, values.var(axis=1), rtol=1e-9)
    parts = [observer.update(observer.init(), i, x) for i, x in enumerate(SAMPLES)]
    merged = observer.merge(parts[2], observer.merge(parts[0], parts[1]))
    assert observer.merge(observer.init(), merged) is merged
    again = observer.from_arrays(observer.to_arrays(merged))
    for name in ("count", "total", "square"):
        one, two = getattr(whole, name), getattr(again, name)
        np.testing.assert_allclose(two, one, rtol=0, atol=observer.tolerance * np.abs(one).max())


def test_what_is_not_finite_is_passed_over() -> None:
    x = np.array([[[1.0, np.nan, 3.0], [np.inf, np.nan, -np.inf]]], np.float32)
    state = ChannelMoments().update(ChannelMoments().init(), 0, x)
    assert state.count.tolist() == [2, 0]
    assert state.mean.tolist() == [2, 0]
    assert state.variance.tolist() == [1, 0]
