"""Sums of products in float32, exact: every partial sum is a whole number of at most 24 bits.

ONNX Runtime convolves in float32 alone. Where a sum may need more bits, weights and inputs are
written in digits, x = Σ digit_i · 2^(i·b), small enough that each convolution of digits stays below
2²⁴; these are exact, and are added in float64, which holds 53 bits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from onnxq.errors import UnsupportedModelError
from onnxq.integer.kinds import Conv, Integers, Window
from onnxq.integer.simulation.writer import DOUBLE, EXACT, SINGLE, Writer

_LIMIT = 1 << EXACT[SINGLE]
_MOST_DIGITS = 8

Digits = list[tuple[Integers, int]]


def conv(
    write: Writer, kind: Conv, x: str, span: tuple[int, int], result: np.dtype[Any], node: str
) -> str:
    """Accumulators of the convolution of the codes *x*, which lie in *span*, as *result*."""
    out, window, outside = kind.weight.shape[0], kind.window, kind.outside
    if outside and any(window.pads):  # Conv pads with 0
        top, left, bottom, right = window.pads
        pads = write.constant(np.array([0, 0, top, left, 0, 0, bottom, right]), np.int64)
        real = write.cast(x, result)
        x = write.node("Pad", [real, pads, write.constant(np.array(outside), result)])
        window = replace(window, pads=(0, 0, 0, 0))
        span = (min(span[0], outside), max(span[1], outside))
    total = _convolve(write, kind.weight, window, kind.groups, x, span, result, node)
    if not kind.bias.any():
        return total
    return write.node("Add", [total, write.constant(kind.bias.reshape(out, 1, 1), result)])


def window_sum(
    write: Writer, window: Window, channels: int, x: str, span: tuple[int, int],
    result: np.dtype[Any], node: str,
) -> str:  # fmt: skip
    """The sum of each window of the codes *x*, as *result*."""
    ones = np.ones((channels, 1, *window.kernel), np.int64)
    return _convolve(write, ones, window, channels, x, span, result, node)


def _convolve(
    write: Writer, weight: Integers, window: Window, groups: int, x: str, span: tuple[int, int],
    result: np.dtype[Any], node: str,
) -> str:  # fmt: skip
    attributes: dict[str, Any] = {
        "kernel_shape": list(window.kernel), "strides": list(window.strides),
        "dilations": list(window.dilations), "pads": list(window.pads), "group": groups,
    }  # fmt: skip
    cuts, weights = _plan(weight, span, node)
    total = ""
    for part, x_left in _inputs(write, x, cuts):
        for digits, w_left in weights:
            stored = write.constant(digits, smallest(digits))
            inputs = [part, write.cast(stored, SINGLE)]
            product = write.node("Conv", inputs, **attributes)
            if result == SINGLE:
                return product
            product = write.cast(product, DOUBLE)
            if x_left + w_left:
                unit = write.constant(np.array(2.0 ** (x_left + w_left)), DOUBLE)
                product = write.node("Mul", [product, unit])
            total = write.node("Add", [total, product]) if total else product
    return total


def _plan(weight: Integers, span: tuple[int, int], node: str) -> tuple[int, Digits]:
    """Into how many bytes inputs are cut (1: not at all), and the digits of weights: the fewest."""
    largest = max(abs(span[0]), abs(span[1]))
    found: list[tuple[int, int, Digits]] = []
    for cuts in (1, 2, 3, 4):
        bound = largest if cuts == 1 else max(255, -(-largest >> (8 * (cuts - 1))) + 1)
        weights = _fewest(weight, bound)
        if weights is not None:
            found.append((cuts * len(weights), cuts, weights))
        if largest < 1 << (8 * cuts):
            break
    if not found:
        raise UnsupportedModelError(
            f"node '{node}' cannot be simulated: its sums have too many terms for float32",
            hint="verify it with the generated C",
        )
    _, cuts, weights = min(found, key=lambda f: f[:2])
    return cuts, weights


def _fewest(weight: Integers, bound: int) -> Digits | None:
    """The fewest digits of *weight* whose sums of products with ±*bound* stay within 24 bits."""
    if _fits(weight, bound):
        return [(weight, 0)]
    for bits in range(15, 0, -1):
        digits = _digits(weight, bits)
        if len(digits) <= _MOST_DIGITS and all(_fits(d, bound) for d, _ in digits):
            return digits
    return None


def _fits(weight: Integers, bound: int) -> bool:
    rows = np.abs(weight.reshape(weight.shape[0], -1)).sum(axis=1, dtype=np.int64)
    return int(rows.max(initial=0)) * bound <= _LIMIT


def _digits(weight: Integers, bits: int) -> Digits:
    """*weight* = Σ digit · 2^left, with digits from −2^(bits−1) to 2^(bits−1) − 1."""
    rest, half = weight.astype(np.int64), 1 << (bits - 1)
    found: Digits = []
    while rest.any() and len(found) <= _MOST_DIGITS:
        digit = ((rest + half) & ((1 << bits) - 1)) - half
        found.append((digit, bits * len(found)))
        rest = (rest - digit) >> bits
    return found


def _inputs(write: Writer, x: str, cuts: int) -> list[tuple[str, int]]:
    """The codes *x* in *cuts* digits of 8 bits, the highest with the sign, each as float32."""
    if cuts == 1:
        return [(write.cast(x, SINGLE), 0)]
    rest, found = write.cast(x, DOUBLE), []
    byte, unit = (write.constant(np.array(v), DOUBLE) for v in (256.0, 1 / 256))
    for i in range(cuts - 1):
        above = write.node("Floor", [write.node("Mul", [rest, unit])])
        digit = write.node("Sub", [rest, write.node("Mul", [above, byte])])
        found.append((write.cast(digit, SINGLE), 8 * i))
        rest = above
    return [*found, (write.cast(rest, SINGLE), 8 * (cuts - 1))]


def smallest(values: Integers) -> Any:
    """The smallest type that stores *values*."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    return next(t for t in (np.int8, np.int16, np.int32)
                if np.iinfo(t).min <= low and high <= np.iinfo(t).max)  # fmt: skip
