"""Weights of few values that lie on no even grid: powers of two, three values, two values.

Codes of 8 bits hold them exactly: 0, ±1, ±2, ±4 … ±64 times a scale, or 0 and ±1, or ±1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.affine import SMALLEST_SCALE

Rows = NDArray[np.float64]
Found = tuple[NDArray[np.float64], NDArray[np.int64]]

#: Magnitudes of a 4-bit code beside 0: seven powers of two, 2^0 … 2^6.
LEVELS = 7
#: The threshold of ternary weights, in means of magnitudes.
TERNARY = 0.7


def log4(rows: Rows) -> Found:
    """Scales [channels] and codes of *rows* [channels, weights] as 0 or ± a power of two.

    The largest power is 2^floor(log2(4/3 · max|w|)); others take the nearer of two neighbours,
    ``β`` where ``¾ β ≤ |w| < 3/2 β``. Source: Zhou et al. 2017, "Incremental Network Quantization",
    section 2.1, equations 1 to 4.
    """
    largest = np.maximum(np.abs(rows).max(axis=1), SMALLEST_SCALE)
    least = np.exp2(np.floor(np.log2(4 * largest / 3)) - (LEVELS - 1))
    steps = np.abs(rows) / least[:, None]
    power = np.clip(np.floor(np.log2(np.maximum(4 * steps / 3, 1.0))), 0, LEVELS - 1)
    codes = np.where(steps >= 0.5, np.exp2(power), 0.0) * np.sign(rows)
    return least, codes.astype(np.int64)


def ternary(rows: Rows) -> Found:
    """Scales and codes −1, 0, 1: Δ = 0.7 · mean|w|, the scale is the mean of |w| beyond Δ.

    Source: Li and Liu 2016, "Ternary Weight Networks", equations 4 to 6.
    """
    size = np.abs(rows)
    beyond = size > TERNARY * size.mean(axis=1, keepdims=True)
    scale = (size * beyond).sum(axis=1) / np.maximum(beyond.sum(axis=1), 1)
    return scale, (np.sign(rows) * beyond).astype(np.int64)


def binary(rows: Rows) -> Found:
    """Scales and codes −1, 1: the sign, times the mean of |w|.

    Source: Rastegari et al. 2016, "XNOR-Net", section 3.1, equations 4 to 6.
    """
    return np.abs(rows).mean(axis=1), np.where(rows < 0, -1, 1).astype(np.int64)


NONUNIFORM: dict[str, Callable[[Rows], Found]] = {"log4": log4, "ternary": ternary,
                                                  "binary": binary}  # fmt: skip
