"""How large an accumulator can become, proven from constants and the ranges of the inputs.

Each term of a sum has its own extremes, and a range that pads can reach into contains what they
hold. A partial sum, in whatever order, then lies between the sum of the smallest and that of the
largest terms, so that what holds for the result holds for every step on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.integer.forms import LINEAR, Form
from onnxq.integer.kinds import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Gemm,
    Kind,
    Mul,
    Pad,
    PRelu,
    Softmax,
    Table,
)
from onnxq.integer.program import Value

Range = tuple[NDArray[Any], NDArray[Any]]
Span = tuple[int, int]


def accumulator(kind: Kind, inputs: Sequence[Value], form: Form) -> tuple[Range, int]:
    """Smallest and largest accumulator [channels, inputs or 1], and the bits that every sum needs.

    Args:
        kind: what is computed.
        inputs: with the ranges of their codes.
        form: factors and offsets, which belong to the accumulator.
    """
    spans = [(v.low, v.high) for v in inputs]
    if isinstance(kind, Conv):
        found, needed = _product(kind.weight, kind.bias, *_with(spans[0], kind.outside))
        # as many bits where the zero point is subtracted from each code, not from the bias
        centred = _less(spans[0], kind.outside)
        bias = kind.bias + kind.weight.reshape(kind.bias.size, -1).sum(axis=1) * kind.outside
        return found, max(needed, _product(kind.weight, bias, *centred)[1])
    if isinstance(kind, Gemm):
        return _product(kind.weight, kind.bias, *spans[0])
    if isinstance(kind, LINEAR):
        return _linear(kind, spans, form)
    if isinstance(kind, Mul):
        a, b = (_less(s, z) for s, z in zip(spans, kind.zero_points, strict=True))
        return _range([x * y for x in a for y in b])
    if isinstance(kind, AveragePool):
        elements = kind.window.kernel[0] * kind.window.kernel[1] * kind.factor
        return _range([v * elements for v in _with(_less(spans[0], kind.zero_point), 0)])
    if isinstance(kind, PRelu):
        factors = (kind.above, int(kind.below.min()), int(kind.below.max()))
        return _range([v * f for v in _less(spans[0], kind.zero_point) for f in factors])
    if isinstance(kind, Softmax):  # the largest element makes the sum at least exponentials[0]
        largest = int(kind.exponentials.max())
        (_, _), needed = _range([0, largest * max(kind.one, inputs[0].shape[kind.axis])])
        return _range([0, kind.one])[0], needed
    assert isinstance(kind, Table)
    return _range([int(kind.codes.min()), int(kind.codes.max())])


def bits(value: int) -> int:
    """Bits of two's complement, with the sign, that hold *value*."""
    return (value if value >= 0 else ~value).bit_length() + 1


def _product(weight: NDArray[Any], bias: NDArray[Any], low: int, high: int) -> tuple[Range, int]:
    low, high = min(low, 0), max(high, 0)  # so that partial sums are within, too
    flat = weight.reshape(weight.shape[0], -1).astype(object)
    least = np.minimum(flat * low, flat * high).sum(axis=1)
    most = np.maximum(flat * low, flat * high).sum(axis=1)
    added = bias.astype(object)
    ends = (least, most, least + added, most + added)
    return (least + added, most + added), max(bits(int(v)) for e in ends for v in e)


def _linear(kind: Kind, spans: Sequence[Span], form: Form) -> tuple[Range, int]:
    if isinstance(kind, Pad):
        spans = [_with(spans[0], kind.fill)]
    if not isinstance(kind, Add):
        factors = np.broadcast_to(np.array(form.factors, object), (len(spans),))
        offsets = np.broadcast_to(np.array(form.offsets, object), (len(spans),))
        if not isinstance(kind, Concat):
            factors, offsets = factors[:1], offsets[:1]
        least, most = (np.array([s[i] for s in spans], object) * factors for i in (0, 1))
        ends = [least, most, least + offsets, most + offsets]
        return (ends[2], ends[3]), max(bits(int(v)) for e in ends for v in e)
    parts = [sorted((f * a, f * b)) for (a, b), f in zip(spans, form.factors, strict=True)]
    low, high, offset = sum(p[0] for p in parts), sum(p[1] for p in parts), form.offsets[0]
    ends = [low, high, low + offset, high + offset, *(v for part in parts for v in part)]
    needed = max(bits(v) for v in ends)
    return _range([low + offset, high + offset])[0], needed


def _with(span: Span, code: int) -> Span:
    return min(span[0], code), max(span[1], code)


def _less(span: Span, zero: int) -> Span:
    return span[0] - zero, span[1] - zero


def _range(values: Sequence[int]) -> tuple[Range, int]:
    ends = min(values), max(values)
    found = np.array([ends[0]], object), np.array([ends[1]], object)
    return found, max(bits(v) for v in ends)
