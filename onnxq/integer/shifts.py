"""Requantization: an accumulator becomes a code by a shift and a clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxq.quant import Rounding

Int64 = NDArray[np.int64]

#: Largest shifts, right and left, of an accumulator of 32 bits.
RIGHT, LEFT = 31, 30


def shift_right(x: Int64, n: Int64, rounding: Rounding) -> Int64:
    """``x / 2^n``, rounded; for ``n < 0`` ``x · 2^-n``.

    The floor is the arithmetic shift; what it cuts off says whether to add one. For half up that
    is ``(x + 2^(n - 1)) >> n``.

    Args:
        x: accumulators.
        n: right shifts, broadcast against *x*.
        rounding: what happens to the part below one.
    """
    right, left = np.maximum(n, 0), np.maximum(-n, 0)
    floor = x >> right
    rest = x - (floor << right)
    half = (np.int64(1) << right) >> 1
    up = _up(floor, rest, half, rounding) & (right > 0)
    return (floor + up) << left


def _up(floor: Int64, rest: Int64, half: Int64, rounding: Rounding) -> NDArray[np.bool_]:
    match rounding:
        case Rounding.FLOOR:
            return np.zeros_like(rest, bool)
        case Rounding.CEIL:
            return np.asarray(rest > 0)
        case Rounding.TOWARD_ZERO:
            return (rest > 0) & (floor < 0)
        case Rounding.HALF_UP:
            return np.asarray(rest >= half)
        case Rounding.HALF_DOWN:
            return np.asarray(rest > half)
        case Rounding.HALF_AWAY:
            return np.asarray((rest > half) | ((rest == half) & (floor >= 0)))
        case Rounding.NEAREST_EVEN:
            return np.asarray((rest > half) | ((rest == half) & (floor & 1 == 1)))


def requantize(acc: Int64, n: Int64, low: int, high: int, rounding: Rounding) -> Int64:
    """Codes of accumulators: shifted, then clipped to *low* … *high*."""
    return np.clip(shift_right(acc, n, rounding), low, high)
