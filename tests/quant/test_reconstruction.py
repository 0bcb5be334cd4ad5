"""Weights for inputs that are off: moved, rounded up or down, better than rounded to nearest."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.quant.reconstruction import Task, compensated, reconstruct
from onnxq.quant.second_order import Codes

RNG = np.random.default_rng(4)
K, M, N = 24, 10, 3000
ALLOWED = Codes(np.full((1, 1, 1), -8, np.float32), np.full((1, 1, 1), 7, np.float32))
MIX = RNG.normal(size=(8, K))


def inputs() -> np.ndarray:
    """Positive values that vary alike."""
    return np.maximum(RNG.normal(size=(1, N, 8)) @ MIX, 0).astype(np.float32)


def layer() -> tuple[np.ndarray, np.ndarray]:
    w = RNG.normal(size=(1, M, K)).astype(np.float32)
    return w, (np.abs(w).max(axis=2, keepdims=True) / 7).astype(np.float32)


def task(x: np.ndarray, real: np.ndarray, w: np.ndarray, low: float = -np.inf) -> Task:
    wanted = np.maximum(real @ w.transpose(0, 2, 1), np.float32(low))
    return Task(x, wanted, np.ones(N, np.float32), np.zeros((1, 1, M), np.float32), low)


@pytest.mark.parametrize("low", [-np.inf, 0.0])
def test_up_or_down_is_better_than_nearest(low: float) -> None:
    x, (w, scale) = inputs(), layer()
    fitted, fresh = task(x, x, w, low), task(x := inputs(), x, w, low)
    near = np.rint(w / scale)
    found = reconstruct(near, w / scale, scale, ALLOWED, fitted, steps=300)
    assert np.abs(found - w / scale).max() < 1 + 1e-3, "the two codes around each weight"
    before, after = (fresh.drifted(c * scale).errors(c * scale).sum() for c in (near, found))
    assert after < 0.8 * before
    again = reconstruct(near, w / scale, scale, ALLOWED, fitted, steps=300)
    np.testing.assert_array_equal(found, again)


def test_codes_stay_within_what_is_allowed() -> None:
    x, (w, scale) = inputs(), layer()
    narrow = Codes(np.full((1, 1, 1), -3, np.float32), np.full((1, 1, 1), 2, np.float32))
    near = np.clip(np.rint(w / scale), -3, 2)
    found = reconstruct(near, w / scale, scale, narrow, task(x, x, w), steps=20)
    assert found.min() == -3 and found.max() == 2


def test_moved_weights_make_up_for_errors_of_the_input() -> None:
    """x̂ = A x with A invertible: W A⁻¹ gives back W x exactly; a strong ridge keeps W."""
    x, (w, _) = inputs(), layer()
    a = np.eye(K) + 0.05 * RNG.normal(size=(K, K))
    off = (x @ a.T).astype(np.float32)
    h, cross = covariance(off, off), covariance(x - off, off)
    moved = compensated(w, h, cross, 1e-7)
    goal = task(off, x, w)
    assert goal.errors(moved).sum() < 1e-4 * goal.errors(w).sum()
    np.testing.assert_allclose(compensated(w, h, cross, 1e6), w, atol=1e-4)


def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    return (a.transpose(0, 2, 1) @ b / N).astype(np.float32)


def test_the_mean_error_is_the_biass_to_correct() -> None:
    x, (w, _) = inputs(), layer()
    off = task(x + np.float32(0.5), x, w)
    drifted = off.drifted(w)
    np.testing.assert_allclose(drifted.bias[0, 0], -0.5 * w[0].sum(axis=1), rtol=1e-3, atol=1e-3)
    assert drifted.errors(w).sum() < 1e-6 * off.errors(w).sum()
