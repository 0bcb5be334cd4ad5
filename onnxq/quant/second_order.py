"""Integers for weights that make the error of the layer's output small, not their own.

With x the inputs of a layer, W its weights, Q the rounded ones and E = Q − W, the output is off by
E x. Its variance over the inputs is

    J(E) = tr(E H Eᵀ),      H = cov(x)

(a mean error is the bias's to correct), and each output channel, a row of W, has its own share of
it. ``round_by_feedback`` rounds column by column and lets the columns that come later make up for
each error; ``descend`` then moves single codes as long as J falls. Arrays are batches over groups:
W [G, M, K], H [G, K, K].

Sources: Frantar et al. 2022, "GPTQ", https://arxiv.org/abs/2210.17323, in the form of Chee et al.
2023, "QuIP", theorem 6: with H = (U + I) D (U + I)ᵀ, U strictly upper triangular, column k is
rounded to nearest after adding Σ_{j<k} (w_j − q_j) U_jk, which is the same. Descent by coordinates:
Behdin et al. 2023, "QuantEase", https://arxiv.org/abs/2309.01885.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.pairs import relieve_pairs

Array = NDArray[np.float32]
WIDE = 2048
"""With more columns one trial of damping and order has to do: time grows with their third power."""
_BLOCK = 64
"""Columns whose mutual errors are followed one by one; errors of earlier blocks come in at once."""


@dataclass(frozen=True, eq=False)
class Codes:
    """Which codes are allowed.

    Attributes:
        low, high: by weight, [G, M, K] or what broadcasts to it, whole numbers, low ≤ 0 ≤ high.
        pair_limit: columns 2j and 2j + 1 of a row add up to at most this in magnitude; None where
            they are free.
    """

    low: Array
    high: Array
    pair_limit: int | None = None

    def bounds(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """*low* and *high* for all weights of *shape*."""
        return np.broadcast_to(self.low, shape), np.broadcast_to(self.high, shape)


def objective(errors: Array, h: Array) -> NDArray[np.float64]:
    """J of each row: float64 [G, M] for *errors* E [G, M, K] and *h* [G, K, K]."""
    return np.asarray(np.einsum("gmk,gmk->gm", errors @ h, errors, dtype=np.float64))


def damp(h: Array, share: float) -> Array:
    """*h* with *share* of its mean diagonal added to the diagonal."""
    k = h.shape[-1]
    diagonal = np.einsum("gkk->gk", h)
    mean = diagonal.mean(axis=1, dtype=np.float64, keepdims=True)
    damped = h.copy()
    damped[:, np.arange(k), np.arange(k)] += np.maximum(share * mean, 1e-30).astype(np.float32)
    return damped


def best_factors(w: Array, h: Array, codes: Codes, factors: Sequence[float]) -> Array:
    """For each row, by what of *factors* its scale is multiplied to make J smallest: [G, M, 1].

    Codes are those nearest to w / factor. A factor is never worse than 1 on *h*.
    Source: Zhao et al. 2023, "Sequential MSE" in AIMET: the scale by the error of the output.
    """
    best = np.ones((*w.shape[:2], 1), np.float32)
    least = objective(_nearest(w, codes) - w, h)
    for factor in factors:
        found = objective(_nearest(w / np.float32(factor), codes) * np.float32(factor) - w, h)
        better = found < least
        least = np.where(better, found, least)
        best = np.where(better[:, :, None], np.float32(factor), best)
    return best


def _nearest(w: Array, codes: Codes) -> Array:
    found = np.clip(np.rint(w), *codes.bounds(w.shape))
    if codes.pair_limit is None:
        return np.asarray(found, np.float32)
    eased = relieve_pairs(found.reshape(-1, w.shape[2]), codes.pair_limit)
    return np.asarray(eased.reshape(w.shape), np.float32)


def by_activity(h: Array) -> NDArray[np.int64]:
    """Columns by falling variance of what they read: int64 [G, K]."""
    return np.argsort(-np.einsum("gkk->gk", h), axis=1, kind="stable")


def feedback(h: Array, order: NDArray[np.int64]) -> Array:
    """What ``round_by_feedback`` hands on of errors: U + I [G, K, K] of *h*, columns in *order*."""
    return _unit_upper(np.take_along_axis(np.take_along_axis(h, order[:, :, None], 1),
                                          order[:, None, :], 2))  # fmt: skip


def round_by_feedback(
    w: Array, h: Array, codes: Codes, order: NDArray[np.int64], steps: Array | None = None,
    handed_on: Array | None = None,
) -> Array:  # fmt: skip
    """Whole numbers for *w*, each error made up for by the columns after it in *order* [G, K].

    Args:
        w: the real weights in units of a code, zero point taken off.
        h: positive definite.
        codes: what is allowed; without a limit on pairs where there are *steps*.
        order: the columns of each group.
        steps: the size of a code of each weight, [G, M, K], where columns have scales of their
            own; *w* and the result are then real values, these on whole multiples of *steps*.
        handed_on: what ``feedback`` gives for *h* and *order*, where it is known already.
    """
    shape, k = w.shape, w.shape[-1]
    low, high = (np.take_along_axis(a, order[:, None], 2) for a in codes.bounds(shape))
    w = np.take_along_axis(w, order[:, None], 2)
    each = None if steps is None else np.take_along_axis(steps, order[:, None], 2)
    u = feedback(h, order) if handed_on is None else handed_on
    pairs = None if codes.pair_limit is None else _Pairs(order, codes.pair_limit)
    q, left = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for start in range(0, k, _BLOCK):
        part = slice(start, min(start + _BLOCK, k))
        target = w[:, :, part] + left[:, :, :start] @ u[:, :start, part]
        for i in range(start, part.stop):
            t = target[:, :, i - start]
            if i > start:
                t = t + (left[:, :, start:i] @ u[:, start:i, i : i + 1])[:, :, 0]
            lowest, highest = low[:, :, i], high[:, :, i]
            if pairs is not None:
                t, lowest, highest = pairs.limit(i, t, w, q, lowest, highest)
            if each is None:
                q[:, :, i] = np.clip(np.rint(t), lowest, highest)
            else:
                q[:, :, i] = np.clip(np.rint(t / each[:, :, i]), lowest, highest) * each[:, :, i]
            left[:, :, i] = w[:, :, i] - q[:, :, i]
    return np.take_along_axis(q, np.argsort(order, axis=1)[:, None], 2)


def descend(
    q: Array, w: Array, h: Array, codes: Codes, sweeps: int, steps: Array | None = None
) -> Array:
    """*q* after moving single codes, column by column, to where J is smallest given the others.

    J of no row rises. Every sweep visits every column once; it ends when nothing moves. *steps*
    as of ``round_by_feedback``.
    """
    low, high = codes.bounds(w.shape)
    k, q = w.shape[-1], q.copy()
    diagonal = np.maximum(np.einsum("gkk->gk", h), np.float32(1e-30))
    limit = codes.pair_limit
    slope = (q - w) @ h
    for _ in range(sweeps):
        moved = False
        for start in range(0, k, _BLOCK):
            part = slice(start, min(start + _BLOCK, k))
            change = np.zeros((*q.shape[:2], part.stop - start), np.float32)
            local = h[:, part, part]
            for i in range(start, part.stop):
                s = slope[:, :, i]
                if i > start:
                    at = i - start
                    s = s + (change[:, :, :at] @ local[:, :at, at : at + 1])[:, :, 0]
                lowest, highest = low[:, :, i], high[:, :, i]
                if limit is not None and i ^ 1 < k:
                    other = q[:, :, i ^ 1]
                    lowest = np.maximum(lowest, -limit - other)
                    highest = np.minimum(highest, limit - other)
                size = np.float32(1) if steps is None else steps[:, :, i]
                step = q[:, :, i] - s / diagonal[:, None, i]
                step = np.clip(np.rint(step / size), lowest, highest) * size - q[:, :, i]
                # of two equally good codes the one that is there stays
                gain = step * (2 * s + step * diagonal[:, None, i])
                step = np.where(gain < 0, step, np.float32(0))
                change[:, :, i - start] = step
                q[:, :, i] += step
            if change.any():
                moved = True
                slope += change @ h[:, part, :]
        if not moved:
            break
    return q


def _unit_upper(h: Array) -> Array:
    """U + I of H = (U + I) D (U + I)ᵀ, from the Cholesky factor of H read backwards."""
    factor = np.linalg.cholesky(h[:, ::-1, ::-1].astype(np.float64))
    factor /= np.einsum("gkk->gk", factor)[:, None, :].copy()
    return np.ascontiguousarray(factor[:, ::-1, ::-1], np.float32)


class _Pairs:
    """Neighbours of the original order, met in another one."""

    def __init__(self, order: NDArray[np.int64], limit: int) -> None:
        k = order.shape[1]
        place = np.argsort(order, axis=1)
        other = np.where(order ^ 1 < k, order ^ 1, order)
        self._partner = np.take_along_axis(place, other, 1)
        self._limit = limit

    def limit(
        self, i: int, t: Array, w: Array, q: Array, low: Array, high: Array
    ) -> tuple[Array, Array, Array]:
        """Target and bounds of column *i* as its neighbour leaves them.

        A neighbour that is rounded already leaves what is left; one that is not gives up half of
        what both exceed the limit by.
        """
        at = self._partner[:, i]
        groups, limit = np.arange(len(at)), np.float32(self._limit)
        first, alone = (at > i)[:, None], (at == i)[:, None]
        real, code = w[groups, :, at], q[groups, :, at]
        excess = np.where(first, np.maximum(np.abs(t + real) - limit, 0) / 2, 0)
        t = t - np.sign(t + real) * excess
        done = ~(first | alone)
        low = np.where(done, np.maximum(low, -limit - code), low)
        high = np.where(done, np.minimum(high, limit - code), high)
        return np.asarray(t, np.float32), low, high
