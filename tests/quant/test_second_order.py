"""Rounding by second moments, held against its definition and against all roundings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.quant.pairs import relieve_pairs
from onnxq.quant.second_order import (
    Array,
    Codes,
    best_factors,
    by_activity,
    damp,
    descend,
    objective,
    round_by_feedback,
)

FREE = Codes(np.float32(-127), np.float32(127))


def layer(seed: int, groups: int, m: int, k: int, alike: float = 0.8) -> tuple[Array, Array]:
    """Weights in units of a code, and second moments of inputs that vary alike."""
    rng = np.random.default_rng(seed)
    w = rng.normal(0, 20, (groups, m, k)).astype(np.float32)
    x = rng.normal(size=(groups, 4 * k, k)) * rng.uniform(0.1, 2, k)
    x += alike * rng.normal(size=(groups, 4 * k, 1)) * 3
    return w, damp((x.transpose(0, 2, 1) @ x / (4 * k)).astype(np.float32), 1e-3)


def natural(w: Array) -> np.ndarray:
    return np.broadcast_to(np.arange(w.shape[2]), (len(w), w.shape[2]))


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4), st.integers(1, 90))
@settings(deadline=None, max_examples=40)
def test_never_worse_than_nearest(seed: int, groups: int, m: int, k: int) -> None:
    w, h = layer(seed, groups, m, k)
    nearest = np.clip(np.rint(w), -127, 127)
    least = objective(nearest - w, h)
    descended = descend(nearest, w, h, FREE, 5)
    assert np.all(objective(descended - w, h) <= least * (1 + 1e-4) + 1e-6)
    for order in (by_activity(h), natural(w)):
        fed = round_by_feedback(w, h, FREE, order)
        after = descend(fed, w, h, FREE, 5)
        assert np.all(objective(after - w, h) <= objective(fed - w, h) * (1 + 1e-4) + 1e-6)
        assert np.abs(fed).max() <= 127 and np.all(fed == np.rint(fed))


def test_close_to_the_best_of_all_roundings() -> None:
    total = np.zeros(3)
    for seed in range(20):
        w, h = layer(seed, 1, 1, 8)
        floor = np.floor(w[0])
        every = floor + np.array(list(itertools.product((0, 1), repeat=8)), np.float32)
        best = objective((every - w[0])[None], h).min()
        nearest = objective(np.rint(w) - w, h)[0, 0]
        found = descend(round_by_feedback(w, h, FREE, by_activity(h)), w, h, FREE, 9)
        total += best, objective(found - w, h)[0, 0], nearest
    assert total[0] * 0.99 <= total[1] < total[0] * 1.5 < total[2] / 2


def test_feedback_is_that_of_gptq() -> None:
    """Frantar et al. 2022, algorithm 1, written with the inverse."""
    w, h = layer(3, 1, 5, 70)
    upper = np.linalg.cholesky(np.linalg.inv(h[0].astype(np.float64))).T
    left, expected = w[0].astype(np.float64).copy(), np.zeros_like(w[0])
    for i in range(70):
        expected[:, i] = np.clip(np.rint(left[:, i]), -127, 127)
        error = (left[:, i] - expected[:, i]) / upper[i, i]
        left[:, i:] -= np.outer(error, upper[i, i:])
    found = round_by_feedback(w, h, FREE, natural(w))[0]
    assert np.mean(found == expected) > 0.99  # a tie in float32 may fall the other way


def test_independent_inputs_are_rounded_to_nearest() -> None:
    w = np.random.default_rng(1).normal(0, 20, (2, 3, 6)).astype(np.float32)
    h = np.broadcast_to(np.diag(np.arange(1, 7, dtype=np.float32)), (2, 6, 6))
    np.testing.assert_array_equal(round_by_feedback(w, h, FREE, by_activity(h)), np.rint(w))


def test_the_order_is_by_falling_activity() -> None:
    h = np.zeros((1, 3, 3), np.float32)
    h[0, [0, 1, 2], [0, 1, 2]] = 2, 5, 2
    assert by_activity(h).tolist() == [[1, 0, 2]]


@pytest.mark.parametrize("k", [8, 65, 129])
def test_pairs_stay_within_their_limit(k: int) -> None:
    w, h = layer(k, 3, 4, k)
    w *= 4  # most pairs would exceed it
    codes = Codes(np.float32(-127), np.float32(127), 128)
    for order in (by_activity(h), natural(w)):
        for found in (fed := round_by_feedback(w, h, codes, order), descend(fed, w, h, codes, 4)):
            even = k // 2 * 2
            sums = np.abs(found[:, :, 0:even:2] + found[:, :, 1:even:2])
            assert sums.max() <= 128 and np.abs(found).max() <= 127
    nearest = np.clip(np.rint(w), -127, 127)
    eased = np.stack([relieve_pairs(rows, 128) for rows in nearest])
    after = descend(eased, w, h, codes, 5)
    assert np.all(objective(after - w, h) <= objective(eased - w, h) * (1 + 1e-4))


def test_bounds_of_single_weights_hold() -> None:
    w, h = layer(5, 1, 3, 10)
    low, high = np.zeros((1, 3, 10), np.float32), np.full((1, 3, 10), 7, np.float32)
    codes = Codes(low, high)
    found = descend(round_by_feedback(w, h, codes, by_activity(h)), w, h, codes, 3)
    assert found.min() >= 0 and found.max() <= 7


def test_scales_by_the_error_of_the_output() -> None:
    """With 4 bits the best factor is never worse than 1, and mostly another one."""
    w, h = layer(11, 2, 5, 40)
    w *= 7 / np.abs(w).max(axis=2, keepdims=True)
    codes = Codes(np.float32(-7), np.float32(7), 10)
    factors = best_factors(w, h, codes, (0.6, 0.8, 1.25))
    assert factors.shape == (2, 5, 1)

    def error(scale: Array) -> np.ndarray:
        nearest = np.clip(np.rint(w / scale), -7, 7)
        eased = relieve_pairs(nearest.reshape(-1, 40), 10).reshape(w.shape)
        return objective(eased * scale - w, h)

    one = np.ones_like(factors)
    assert np.all(error(factors) <= error(one)) and error(factors).sum() < error(one).sum()
    for factor in (0.6, 0.8, 1.25):
        assert np.all(error(factors) <= error(one * np.float32(factor)) * (1 + 1e-5))
