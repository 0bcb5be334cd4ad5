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
_AT_ONCE = 1 << 15
"""Weights that are worked on at once: what is computed of them stays in the processor's cache."""
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
    length = max(rows.shape[1], 1)
    step = max(_AT_ONCE // length, 1)
    parts = [slice(i, i + step) for i in range(0, len(rows), step)]
    found = [_part(rows[p], scale[p], zero[p], codes, symmetric) for p in parts]
    if not found:
        return scale, zero
    return np.concatenate([s for s, _ in found]), np.concatenate([z for _, z in found])


def _part(
    rows: Rows, scale: Column, zero: Column, codes: tuple[int, int], symmetric: bool
) -> tuple[Column, Column]:
    w = np.asarray(rows / scale[:, None].astype(np.float32), np.float32)
    s, z = np.ones_like(scale), zero.astype(np.float64)
    q, r = _residual(w, s, z, codes)
    steep = _steepness(r)
    best, least = (s, z), _power_error(r, steep)
    beta = _BETA
    for _ in range(_ITERATIONS):
        s, z = _line(q, w - _forgiven(r, steep, beta), z, codes, symmetric)
        q, r = _residual(w, s, z, codes)
        steep = _steepness(r)
        found = _power_error(r, steep)
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


def _steepness(r: Rows) -> Rows:
    """|r|^(p−1), which both the error and what is forgiven are made of."""
    return np.asarray(np.power(np.maximum(np.abs(r), 1e-6), POWER - 1), np.float32)


def _forgiven(r: Rows, steep: Rows, beta: float) -> Rows:
    """The e of least |e|^p + β/2 (r − e)², nearly: generalized soft thresholding."""
    kept = np.abs(r) - steep / np.float32(beta)
    return np.asarray(np.copysign(np.maximum(kept, 0), r), np.float32)


def _line(
    q: Rows, t: Rows, z: Column, codes: tuple[int, int], symmetric: bool
) -> tuple[Column, Column]:
    """Scale and zero point with least Σ (t − s (q − z))²."""
    if not symmetric:
        mean_q, mean_t = (v.mean(axis=1, dtype=np.float64) for v in (q, t))
        off = q - mean_q[:, None]
        slope = _ratio(np.vecdot(off, t), np.vecdot(off, off))
        z = np.clip(np.rint(mean_q - mean_t / slope), *codes)
    off = q - z[:, None]
    return _ratio(np.vecdot(off, t), np.vecdot(off, off)), z


def _ratio(top: Column, bottom: Column) -> Column:
    """*top* / *bottom* as a scale in units of the first; 1 where nothing says what it is."""
    some = bottom > 0
    return np.where(some, np.maximum(top / np.where(some, bottom, 1), _NARROWEST), 1.0)


def _power_error(r: Rows, steep: Rows) -> Column:
    return np.asarray(np.vecdot(np.abs(r), steep), np.float64)
