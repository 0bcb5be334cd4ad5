"""Requantization in floats that are whole numbers: acc · 2⁻ⁿ, rounded, clipped.

Exact: a product with a power of two moves no bit, and what is rounded has no more bits than the
type holds, for a half is 2ⁿ⁻¹ units of acc · 2⁻ⁿ (see ``exact_type``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxq.integer.simulation.writer import DOUBLE, EXACT, SINGLE, Writer
from onnxq.quant import Rounding


def exact_type(bits: int, shifts: Sequence[int]) -> np.dtype[Any]:
    """The smaller float type that holds accumulators of *bits* and their sum with a half.

    A sum of two numbers needs one bit more than the larger, which a half of 2ⁿ⁻¹ may be.
    """
    needed = max(bits, *shifts, 0) + 1
    return SINGLE if needed <= EXACT[SINGLE] else DOUBLE


def requantize(
    write: Writer, acc: str, kind: np.dtype[Any], shifts: Sequence[int], trailing: int,
    limits: tuple[int, int], rounding: Rounding,
) -> str:  # fmt: skip
    """Codes, still of the float type *kind*, of the accumulators *acc*.

    Args:
        write: the graph.
        acc: accumulators.
        kind: their type.
        shifts: one for all, or one for each channel.
        trailing: axes behind the channels.
        limits: smallest and largest code.
        rounding: of right shifts.
    """
    if any(shifts):
        scale = np.ldexp(np.ones(len(shifts)), [-n for n in shifts])
        shape = (-1, *([1] * trailing)) if len(shifts) > 1 else ()
        acc = write.node("Mul", [acc, write.constant(scale.reshape(shape), kind)])
    if max(shifts) > 0:
        acc = _rounded(write, acc, kind, rounding)
    ends = [write.constant(np.array(v), kind) for v in limits]
    return write.node("Clip", [acc, *ends])


def _rounded(write: Writer, x: str, kind: np.dtype[Any], rounding: Rounding) -> str:
    half = write.constant(np.array(0.5), kind)
    match rounding:
        case Rounding.FLOOR:
            return write.node("Floor", [x])
        case Rounding.CEIL:
            return write.node("Ceil", [x])
        case Rounding.HALF_UP:
            return write.node("Floor", [write.node("Add", [x, half])])
        case Rounding.HALF_DOWN:
            return write.node("Ceil", [write.node("Sub", [x, half])])
        case Rounding.NEAREST_EVEN:
            return write.node("Round", [x])
        case Rounding.HALF_AWAY:
            size = write.node("Floor", [write.node("Add", [write.node("Abs", [x]), half])])
        case Rounding.TOWARD_ZERO:
            size = write.node("Floor", [write.node("Abs", [x])])
    return write.node("Mul", [write.node("Sign", [x]), size])
