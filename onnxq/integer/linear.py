"""Factors and offsets of steps that add and move codes, for scales of any value.

    y = z_y + Σ (s_i / s_y) · (x_i − z_i)  ≈  (Σ f_i · x_i + offset) >> k

    f_i = round(2^k · s_i / s_y)         offset = 2^k · z_y − Σ f_i · z_i

k is the largest for which no sum leaves 32 bits, so that 8-bit codes meet factors of some 20 bits,
and only the shift rounds. What the rounded factors can make of the largest inputs stays below an
eighth of a step of the output, or the step is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log2

from onnxq.integer.program import Value
from onnxq.integer.shifts import RIGHT

#: Most that rounded factors may change a result, in its steps.
ERROR = 0.125


@dataclass(frozen=True)
class Linear:
    """What a step adds and moves by: factors for each input, an offset, and the right shift."""

    factors: tuple[int, ...]
    offset: int
    shift: int


def linear(
    scales: Sequence[float], spans: Sequence[Value], scale: float, zero: int
) -> Linear | None:
    """The factors that bring inputs to *scale* and *zero*; None where 32 bits are too few.

    Args:
        scales: of what each input adds to the result; negative to subtract it.
        spans: the inputs, with zero points and ranges of codes.
        scale: of the output.
        zero: its zero point.
    """
    ratios = [s / scale for s in scales]
    if all(r in (1.0, -1.0) for r in ratios):
        factors = tuple(int(r) for r in ratios)
        return Linear(factors, zero - at_zero(factors, spans), 0)
    largest = [max(abs(v.low), abs(v.high)) for v in spans]
    moved = [max(abs(v.low - v.zero_point), abs(v.high - v.zero_point)) for v in spans]
    # at most what the inputs add, their zero points once more in the offset, and the half
    pairs = zip(ratios, largest, spans, strict=True)
    most = abs(zero) + 1 + sum(abs(r) * (x + abs(v.zero_point)) for r, x, v in pairs)
    k = min(floor(30 - log2(most)), RIGHT - 1)
    if k < 0 or sum(moved) / 2 > ERROR * 2.0**k:
        return None
    factors = tuple(round(r * 2.0**k) for r in ratios)
    return Linear(factors, (zero << k) - at_zero(factors, spans), k)


def at_zero(factors: Sequence[int], spans: Sequence[Value]) -> int:
    """What inputs that are all their zero points add up to."""
    return sum(f * v.zero_point for f, v in zip(factors, spans, strict=True))
