"""Scales and zero points without data that let a few weights be far off (HQQ).

The errors of rounding, w − s (q − z), have long tails: large weights are few and matter most. A sum
of |error|^p with p < 1 forgives what cannot be met and fits the rest. It is split by a variable e
for what is forgiven, and both parts are solved in turn, β growing:

    min Σ |e|^p + β/2 · (w − s (q − z) − e)²
    e ← sign(r) · max(|r| − |r|^(p−1) / β, 0),   r = w − s (q − z)
    s, z ← the line through (q, w − e) of least squares

q are the nearest codes. Everything is in units of the first scale, so that β needs no tuning. The
paper moves z alone, which may be any real number there; here zero points are whole numbers, as
ONNX has them, and scales move too, or alone where codes are symmetric.

Source: Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models",
https://mobiusml.github.io/hqq_blog/.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Column = NDArray[np.float64]

POWER = 0.7
_BETA, _GROWTH, _ITERATIONS = 1.0, 1.05, 20
_NARROWEST = 0.1
"""Share of the first scale that a scale never falls below."""


def half_quadratic(
    rows: Rows, scale: Column, zero: Column, codes: tuple[int, int], *, symmetric: bool
) -> tuple[Column, Column]:
    """Scales and zero points of *rows* with less Σ |error|^p than *scale* and *zero*.

    Args:
        rows: weights, one row for each scale, float32 [R, n].
        scale: where to begin, positive [R].
        zero: the zero points, whole numbers [R].
        codes: smallest and largest code.
        symmetric: whether zero points stay.

    Returns:
        Scale and zero point of each row, [R] each; of a row that nothing improves, those given.
    """
    w = np.asarray(rows / scale[:, None].astype(np.float32), np.float32)
    s, z = np.ones_like(scale), zero.astype(np.float64)
    best, least = (s, z), _power_error(_residual(w, s, z, codes)[1])
    beta = _BETA
    for _ in range(_ITERATIONS):
        q, r = _residual(w, s, z, codes)
        s, z = _line(q, w - _forgiven(r, beta), z, codes, symmetric)
        found = _power_error(_residual(w, s, z, codes)[1])
        better = found < least
        least = np.where(better, found, least)
        best = (np.where(better, s, best[0]), np.where(better, z, best[1]))
        beta *= _GROWTH
    return best[0] * scale, best[1]


def _residual(w: Rows, s: Column, z: Column, codes: tuple[int, int]) -> tuple[Rows, Rows]:
    """The nearest codes, and what they leave."""
    step, at = s[:, None].astype(np.float32), z[:, None].astype(np.float32)
    q = np.clip(np.rint(w / step + at), *codes).astype(np.float32)
    return q, np.asarray(w - step * (q - at), np.float32)


def _forgiven(r: Rows, beta: float) -> Rows:
    """The e of least |e|^p + β/2 (r − e)², nearly: generalized soft thresholding."""
    size = np.abs(r)
    kept = size - np.power(np.maximum(size, 1e-6), POWER - 1) / np.float32(beta)
    return np.asarray(np.sign(r) * np.maximum(kept, 0), np.float32)


def _line(
    q: Rows, t: Rows, z: Column, codes: tuple[int, int], symmetric: bool
) -> tuple[Column, Column]:
    """Scale and zero point with least Σ (t − s (q − z))²."""
    if not symmetric:
        mean_q, mean_t = (v.mean(axis=1, dtype=np.float64) for v in (q, t))
        off = q - mean_q[:, None]
        slope = _ratio((off * t).sum(axis=1), np.square(off).sum(axis=1))
        z = np.clip(np.rint(mean_q - mean_t / slope), *codes)
    off = q - z[:, None]
    return _ratio((off * t).sum(axis=1), np.square(off).sum(axis=1)), z


def _ratio(top: Column, bottom: Column) -> Column:
    """*top* / *bottom* as a scale in units of the first; 1 where nothing says what it is."""
    some = bottom > 0
    return np.where(some, np.maximum(top / np.where(some, bottom, 1), _NARROWEST), 1.0)


def _power_error(r: Rows) -> Column:
    return np.asarray(np.power(np.abs(r), POWER).sum(axis=1, dtype=np.float64))
