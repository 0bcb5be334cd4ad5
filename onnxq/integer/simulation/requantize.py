"""Requantization in floats that are whole numbers: acc · m · 2⁻ⁿ, rounded, clipped.

Exact: a product with a power of two moves no bit, and what is rounded has no more bits than the
type holds, for a half is 2ⁿ⁻¹ units of acc · 2⁻ⁿ (see ``exact_type``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.integer.program import Step, Value
from onnxq.integer.simulation.writer import DOUBLE, EXACT, SINGLE, Writer
from onnxq.quant import Rounding


def exact_type(step: Step, operands: Sequence[Value]) -> np.dtype[Any]:
    """The smaller float type that holds what *step* adds up, and the sum of that with a half.

    A sum of two numbers needs one bit more than the larger, which a half of 2ⁿ⁻¹ may be.
    """
    widths = [max(abs(v.low), abs(v.high)).bit_length() + 1 for v in operands]
    needed = max(step.bits, *widths, *step.shifts) + 1
    return SINGLE if needed <= EXACT[SINGLE] and not step.multipliers else DOUBLE


def requantize(
    write: Writer, acc: str, kind: np.dtype[Any], step: Step, trailing: int, rounding: Rounding
) -> str:
    """Codes, still of the float type *kind*, of the accumulators *acc* of *step*.

    Args:
        write: the graph.
        acc: accumulators.
        kind: their type.
        step: its shifts and multipliers, its zero point and its limits.
        trailing: axes behind the channels, where there is a shift for each.
        rounding: of right shifts.
    """
    n = np.array(step.shifts, np.int64).reshape(-1, *([1] * trailing))
    n = n if n.size > 1 else n.reshape(())
    if step.multipliers:
        m = np.array(step.multipliers, np.int64).reshape(n.shape)
        acc, n = _multiplied(write, acc, m, np.maximum(-n, 0)), np.maximum(n, 0)
    acc = shifted(write, acc, kind, n, rounding)
    if step.zero_point:
        acc = write.node("Add", [acc, write.constant(np.array(step.zero_point), kind)])
    return clipped(write, acc, kind, (step.low, step.high))


def clipped(write: Writer, x: str, kind: np.dtype[Any], limits: tuple[int, int]) -> str:
    """*x* within *limits*."""
    return write.node("Clip", [x, *(write.constant(np.array(v), kind) for v in limits)])


def shifted(
    write: Writer, x: str, kind: np.dtype[Any], n: NDArray[np.int64], rounding: Rounding
) -> str:
    """The product of *x* with 2⁻ⁿ, rounded."""
    if n.any():
        x = write.node("Mul", [x, write.constant(np.ldexp(np.ones(n.shape), -n), kind)])
    return rounded(write, x, kind, rounding) if n.max() > 0 else x


def _multiplied(write: Writer, acc: str, m: NDArray[np.int64], left: NDArray[np.int64]) -> str:
    """⌊(acc · 2^left · m + 2³⁰) / 2³¹⌋, what goes beyond 32 bits before m cut off.

    With m = m₁ · 2¹⁶ + m₀ that is ⌊(x · m₁ + ⌊(x · m₀ + 2³⁰) / 2¹⁶⌋) / 2¹⁵⌋, where no product
    needs more than 48 bits.
    """
    if left.any():
        acc = write.node("Mul", [acc, write.constant(np.ldexp(np.ones(left.shape), left), DOUBLE)])
        acc = clipped(write, acc, DOUBLE, (-(1 << 31), (1 << 31) - 1))
    high, low = (write.constant(v, DOUBLE) for v in (m >> 16, m & 0xFFFF))
    half, unit, rest = (write.constant(np.array(v), DOUBLE) for v in (2.0**30, 2.0**-16, 2.0**-15))
    lower = write.node("Add", [write.node("Mul", [acc, low]), half])
    lower = write.node("Floor", [write.node("Mul", [lower, unit])])
    upper = write.node("Add", [write.node("Mul", [acc, high]), lower])
    return write.node("Floor", [write.node("Mul", [upper, rest])])


def rounded(write: Writer, x: str, kind: np.dtype[Any], rounding: Rounding) -> str:
    """The whole numbers that *rounding* makes of *x*."""
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
