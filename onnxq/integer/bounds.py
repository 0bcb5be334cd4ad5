"""How large an accumulator can become, proven from constants and the ranges of the inputs.

Each term of a sum has its own extremes, and a range that pads can reach into contains zero. A
partial sum, in whatever order, then lies between the sum of the smallest and that of the largest
terms, so that what holds for the result holds for every step on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.integer.kinds import Add, AveragePool, Conv, Gemm, Kind, Mul, Pad, Table

Range = tuple[NDArray[Any], NDArray[Any]]
Span = tuple[int, int]


def accumulator(kind: Kind, inputs: Sequence[Span]) -> tuple[Range, int]:
    """Smallest and largest accumulator [channels or 1], and the bits that every sum needs.

    Args:
        kind: what is computed.
        inputs: smallest and largest code of each input.
    """
    low, high = inputs[0]
    if isinstance(kind, (Conv, Gemm)):
        flat = kind.weight.reshape(kind.weight.shape[0], -1).astype(object)
        low, high = min(low, 0), max(high, 0)
        least = np.minimum(flat * low, flat * high).sum(axis=1)
        most = np.maximum(flat * low, flat * high).sum(axis=1)
        bias = kind.bias.astype(object)
        ends = (least, most, least + bias, most + bias)
        return (least + bias, most + bias), max(bits(int(v)) for e in ends for v in e)
    if isinstance(kind, Add):
        pairs = [
            sorted((sign * (a << left), sign * (b << left)))
            for (a, b), left, sign in zip(inputs, kind.lefts, kind.signs, strict=True)
        ]
        span = sum(p[0] for p in pairs), sum(p[1] for p in pairs)
        parts = max(bits(v) for p in (*pairs, span) for v in p)
        return _range(span), parts
    if isinstance(kind, Mul):
        products = [a * b for a in inputs[0] for b in inputs[1]]
        span = min(products), max(products)
    elif isinstance(kind, AveragePool):
        elements = kind.window.kernel[0] * kind.window.kernel[1] * kind.multiplier
        span = min(low, 0) * elements, max(high, 0) * elements
    elif isinstance(kind, Table):
        span = int(kind.codes.min()), int(kind.codes.max())
    elif isinstance(kind, Pad):
        span = min(low, kind.fill), max(high, kind.fill)
    else:
        span = min(a for a, _ in inputs), max(b for _, b in inputs)
    return _range(span), max(bits(v) for v in span)


def bits(value: int) -> int:
    """Bits of two's complement, with the sign, that hold *value*."""
    return (value if value >= 0 else ~value).bit_length() + 1


def _range(span: Span) -> Range:
    return np.array([span[0]], object), np.array([span[1]], object)
