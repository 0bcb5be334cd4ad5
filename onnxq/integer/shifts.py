"""Requantization: an accumulator becomes a code by a multiplier, a shift and a clip."""

from __future__ import annotations

from math import frexp

import numpy as np
from numpy.typing import NDArray

from onnxq.quant import Rounding

Int64 = NDArray[np.int64]

#: Largest shifts, right and left, of an accumulator of 32 bits.
RIGHT, LEFT = 31, 30
_LEAST, _MOST = -(1 << 31), (1 << 31) - 1


def multiplier_and_shift(ratio: float) -> tuple[int, int]:
    """A multiplier m, 2^30 ≤ m < 2^31, and a right shift n with ``m · 2^(-31 - n) ≈ ratio``.

    Source: gemmlowp, "Building a quantization paradigm from first principles" (its public
    documentation); TensorFlow Lite's QuantizeMultiplier does the same.

    Args:
        ratio: positive.
    """
    fraction, exponent = frexp(ratio)
    multiplier = round(fraction * (1 << 31))
    if multiplier == 1 << 31:
        multiplier, exponent = 1 << 30, exponent + 1
    return multiplier, -exponent


def multiply_high(x: Int64, multiplier: Int64) -> Int64:
    """``x · multiplier / 2^31`` rounded half up, for *x* of 32 bits and multipliers of 31.

    This is gemmlowp's SaturatingRoundingDoublingHighMul, and Arm's instruction VQRDMULH: what
    saturates there, the product of the two least numbers, cannot occur.
    """
    return (x * multiplier + (1 << 30)) >> 31


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


def scaled(acc: Int64, multiplier: Int64, n: Int64, rounding: Rounding) -> Int64:
    """``acc · multiplier · 2^(-31 - n)``: a shift to the left comes first, one to the right last.

    What the shift to the left would carry out of 32 bits stays at their limit.
    """
    left = np.clip(acc << np.maximum(-n, 0), _LEAST, _MOST)
    return shift_right(multiply_high(left, multiplier), np.maximum(n, 0), rounding)


def requantize(acc: Int64, n: Int64, low: int, high: int, rounding: Rounding) -> Int64:
    """Codes of accumulators: shifted, then clipped to *low* … *high*."""
    return np.clip(shift_right(acc, n, rounding), low, high)
