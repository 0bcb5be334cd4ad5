"""How far quantized values are from the float ones, accumulated over samples.

    SQNR = 10 · log₁₀(Σ x² / Σ (y − x)²) dB      noise to signal = Σ (y − x)² / Σ x²
    cosine = Σ x·y / √(Σ x² · Σ y²)

with x the float value and y the quantized one, over all values of all samples.
Source: SQNR as in Lin, Talathi, Annapureddy 2016, "Fixed Point Quantization of Deep Convolutional
Networks", section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Values summed in float32 at a time; pieces are summed in float64.
PIECE = 1 << 16


@dataclass
class ErrorSums:
    """Sums from which every error measure follows; adding and merging commute.

    Attributes:
        signal: Σ x², of the float values x.
        noise: Σ (y − x)², of the quantized values y.
        other: Σ y².
        cross: Σ x · y.
        largest: the largest magnitude of y − x.
        count: how many pairs were summed.
        nonfinite: how many pairs were left out because one side was NaN or Inf.
    """

    signal: float = 0.0
    noise: float = 0.0
    other: float = 0.0
    cross: float = 0.0
    largest: float = 0.0
    count: int = 0
    nonfinite: int = 0

    def add(self, reference: NDArray[Any], quantized: NDArray[Any]) -> None:
        """Take in one pair of arrays of equal size; *reference* holds the float values.

        Raises:
            ValueError: the sizes differ.
        """
        if reference.size != quantized.size:
            raise ValueError(f"{reference.shape} and {quantized.shape} cannot be compared")
        xs = np.ascontiguousarray(reference, np.float32).reshape(-1)
        ys = np.ascontiguousarray(quantized, np.float32).reshape(-1)
        for i in range(0, xs.size, PIECE):
            self._add_piece(xs[i : i + PIECE], ys[i : i + PIECE])

    def _add_piece(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            error = y - x
            # float32 is enough within a piece, unless squares leave its range
            sums = [float(np.dot(a, b)) for a, b in ((x, x), (error, error), (y, y), (x, y))]
        if not all(map(math.isfinite, sums)):
            finite = np.isfinite(x) & np.isfinite(y)
            self.nonfinite += int(x.size - finite.sum())
            wide, other = x[finite].astype(np.float64), y[finite].astype(np.float64)
            error64 = other - wide
            pairs = ((wide, wide), (error64, error64), (other, other), (wide, other))
            sums = [float(np.dot(a, b)) for a, b in pairs]
            error = error64.astype(np.float32)
        if not error.size:
            return
        self.signal += sums[0]
        self.noise += sums[1]
        self.other += sums[2]
        self.cross += sums[3]
        self.largest = max(self.largest, float(np.abs(error).max()))
        self.count += error.size

    def merge(self, more: ErrorSums) -> ErrorSums:
        """The sums of both."""
        return ErrorSums(
            self.signal + more.signal,
            self.noise + more.noise,
            self.other + more.other,
            self.cross + more.cross,
            max(self.largest, more.largest),
            self.count + more.count,
            self.nonfinite + more.nonfinite,
        )

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise ratio in dB; inf without noise, -inf without signal."""
        if not self.noise:
            return math.inf
        return 10.0 * math.log10(self.signal / self.noise) if self.signal else -math.inf

    @property
    def noise_to_signal(self) -> float:
        """Power of the noise relative to the signal's; 0 without noise, inf without signal."""
        if not self.noise:
            return 0.0
        return self.noise / self.signal if self.signal else math.inf

    @property
    def cosine(self) -> float:
        """Cosine of the angle between both; 1 where both are zero, 0 where one is."""
        if not (self.signal and self.other):
            return float(self.signal == self.other)
        return self.cross / math.sqrt(self.signal) / math.sqrt(self.other)

    @property
    def mse(self) -> float:
        """Mean squared error; 0 where nothing was compared."""
        return self.noise / self.count if self.count else 0.0


def softmax_divergence(reference: NDArray[Any], quantized: NDArray[Any]) -> float:
    """Kullback-Leibler divergence of softmax over the last axis, in nats, summed over the rows.

        D = Σ p · (ln p − ln q),   p = softmax(x),   q = softmax(y)

    with x = *reference* and y = *quantized*, both [..., classes]. Rows with NaN or Inf count as 0.
    Source: Kullback, Leibler 1951, "On Information and Sufficiency".

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != quantized.shape:
        raise ValueError(f"{reference.shape} and {quantized.shape} cannot be compared")
    x, y = (np.asarray(v, np.float64).reshape(-1, v.shape[-1]) for v in (reference, quantized))
    finite = np.isfinite(x).all(1) & np.isfinite(y).all(1)
    log_p, log_q = (_log_softmax(v[finite]) for v in (x, y))
    return max(0.0, float((np.exp(log_p) * (log_p - log_q)).sum()))


def _log_softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = x - x.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
