"""Factors that make the noise of a block of channels smallest; numpy only.

Rounding a tensor y whose channels have the ranges R_c, and the weights w_oc that read it, leaves
behind the layer, up to a constant,

    N(a) = Σ_tensors (max_c a_c R_c / 255)² · Σ_oc (w_oc / a_c)²
         + Σ_o (max_c |w_oc| / a_c / L)² · Σ_c a_c² E[y_c²]

when y'_c = a_c · y_c and w'_oc = w_oc / a_c, with L the largest code of a weight. The second term
is absent where a weight has a step for each input channel, as in depthwise layers. Scaling by the
inverse range, a_c ∝ 1 / R_c, makes the first smallest; how far to go, a_c ∝ R_c^-α, is found by
trying.
Sources: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", section 4.1; the exponent as in Xiao et al. 2022, "SmoothQuant", section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

PEAK = 6.0
"""Range over root mean square of an activation, about."""
EXPONENTS = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)


@dataclass(frozen=True)
class Reading:
    """A weight that reads channels.

    Attributes:
        rows: |w|, largest over the kernel's window, float64 [outputs, channels of its group].
        power: Σ w² over the window, likewise.
        where: which variable of the block each column reads, int64 [outputs, channels], or
            [1, channels] where all outputs read the same; -1 for channels of other blocks.
        largest: largest code of the weight, in magnitude.
    """

    rows: Array
    power: Array
    where: Ids
    largest: int = 127

    def taken(self, values: Array) -> Array:
        """*values* of the variables, shaped as ``where``; 1 for channels of other blocks."""
        return np.append(values, 1.0)[self.where]

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """Which columns read channels of the block, shaped as ``where``."""
        return self.where >= 0

    @cached_property
    def total(self) -> Array:
        """The power of each column of ``where``, shaped as it."""
        return self.power.sum(axis=0, keepdims=True) if len(self.where) == 1 else self.power


def noise(ranges: Sequence[Array], readings: Sequence[Reading], a: Array) -> float:
    """N(a); *ranges* are those of each rounded tensor, [variables], 0 where it lacks one."""
    widest = np.max(np.stack([*ranges]), axis=0)
    steps = sum(float((a * r).max(initial=0.0) / 255) ** 2 for r in ranges)
    total = 0.0
    for reading in readings:
        factor, inside = reading.taken(a), reading.inside
        total += steps * float((reading.total * inside / factor**2).sum())
        if reading.rows.shape[1] > 1:
            signal = (reading.taken(a * widest / PEAK) ** 2 * inside).sum(axis=1)
            step = (reading.rows * (1 / factor)).max(axis=1) / reading.largest
            total += float((step**2 * signal).sum())
    return total


def balance(
    ranges: Sequence[Array], readings: Sequence[Reading], highest: Array
) -> tuple[Array, float]:
    """Factors a ≥ 1 [variables], at most *highest*, and the share of the noise that they leave.

    Variables whose range is 0 keep the factor 1. Factors are rounded down to half precision, in
    which they are noted in the model.
    """
    widest = np.max(np.stack([*ranges]), axis=0)
    one = np.ones_like(widest)
    alive = widest > 0
    before = noise(ranges, readings, one)
    best, least = one, before
    top = widest.max(initial=0.0)
    for exponent in EXPONENTS:
        wanted = np.divide(top, widest, out=one.copy(), where=alive) ** exponent
        a = rounded_down(np.minimum(wanted, highest))
        found = noise(ranges, readings, a)
        if found < least:
            best, least = a, found
    return best, least / before if before > 0 else 1.0


def rounded_down(a: Array) -> Array:
    """*a*, finite and at least 1, rounded down to half precision."""
    half = a.astype(np.float16)
    return np.where(half > a, np.nextafter(half, np.float16(0)), half).astype(np.float64)
