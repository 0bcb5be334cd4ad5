"""Accumulators of every kind of step, in numpy.

Sums of products go through the floating-point matrix product, because numpy has no fast one for
integers. It is exact here: every partial sum is a whole number of at most 32 bits, and float64
holds those of 53 (float32 of 24).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from onnxq.integer.kinds import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Copy,
    Gemm,
    MaxPool,
    Mul,
    Pad,
    PRelu,
    Reshape,
    Softmax,
    Table,
    Take,
    Transpose,
    Window,
)
from onnxq.integer.program import Step

Int64 = NDArray[np.int64]

#: Elements of the unfolded input of a convolution at a time.
UNFOLDED = 1 << 23


def accumulate(step: Step, inputs: Sequence[NDArray[Any]], shape: tuple[int, ...]) -> Int64:
    """Accumulators [frames, …] of *step*; of Concat before factors, which its parts differ in.

    Args:
        step: what is computed.
        inputs: codes [frames, …].
        shape: the output's, for one frame.
    """
    x, kind = inputs[0], step.kind
    match kind:
        case Conv():
            return _conv(kind, x, np.float32 if step.bits <= 24 else np.float64)
        case Gemm():
            exact = np.float32 if step.bits <= 24 else np.float64
            product = x.astype(exact) @ kind.weight.T.astype(exact)
            return np.asarray(product.astype(np.int64) + kind.bias.astype(np.int64))
        case Add():
            parts = zip(inputs, step.factors, strict=True)
            return np.asarray(sum(factor * _wide(v) for v, factor in parts) + step.offsets[0])
        case Mul():
            a, b = (_wide(v) - z for v, z in zip(inputs, kind.zero_points, strict=True))
            return np.asarray(a * b)
        case AveragePool():
            views = _windows(_wide(x) - kind.zero_point, kind.window, 0)
            return np.asarray(views.sum(axis=(-2, -1)) * kind.factor)
        case PRelu():
            steps = _wide(x) - kind.zero_point
            below = kind.below.astype(np.int64).reshape(-1, *[1] * (x.ndim - 2))
            return np.asarray(steps * np.where(steps < 0, below, kind.above))
        case Softmax():
            away = x.max(axis=kind.axis, keepdims=True).astype(np.int64) - x
            parts_of_one = kind.exponentials.astype(np.int64)[away]
            total = parts_of_one.sum(axis=kind.axis, keepdims=True)
            return np.asarray(parts_of_one * kind.one // total)
        case Table():
            return np.asarray(kind.codes[_wide(x) - int(np.iinfo(x.dtype).min)], np.int64)
        case Concat():
            return _wide(x)
    return np.asarray(_moved(step, x, shape) * step.factors[0] + step.offsets[0])


def _moved(step: Step, x: NDArray[Any], shape: tuple[int, ...]) -> Int64:
    match step.kind:
        case MaxPool():
            least = int(np.iinfo(x.dtype).min)
            return _wide(_windows(x, step.kind.window, least).max(axis=(-2, -1)))
        case Take():
            frames = np.arange(x.shape[0])
            return _wide(x[np.ix_(frames, *step.kind.indices)])
        case Pad():
            widths = [(0, 0), *zip(step.kind.before, step.kind.after, strict=True)]
            return np.pad(_wide(x), widths, constant_values=step.kind.fill)
        case Transpose():
            return _wide(x).transpose(step.kind.order)
        case Reshape():
            return _wide(x).reshape(x.shape[0], *shape[1:])
    assert isinstance(step.kind, Copy)
    return _wide(x)


def _wide(x: NDArray[Any]) -> Int64:
    return x.astype(np.int64)


def _windows(x: NDArray[Any], window: Window, fill: int) -> NDArray[Any]:
    """Views [frames, channels, rows, columns, kernel rows, kernel columns] of the padded input."""
    top, left, bottom, right = window.pads
    rows, columns = window.output(x.shape[2], x.shape[3])
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    (down, across), (high, wide) = window.dilations, window.kernel
    spans = ((high - 1) * down + 1, (wide - 1) * across + 1)
    views = sliding_window_view(padded, spans, axis=(2, 3))[..., ::down, ::across]
    return views[:, :, :: window.strides[0], :: window.strides[1]][:, :, :rows, :columns]


def _conv(kind: Conv, x: NDArray[Any], exact: Any) -> Int64:
    out, width = kind.weight.shape[0], int(np.prod(kind.weight.shape[1:]))
    rows, columns = kind.window.output(x.shape[2], x.shape[3])
    weight = kind.weight.reshape(kind.groups, out // kind.groups, width).astype(exact)
    each = max(1, UNFOLDED // max(1, width * kind.groups * rows * columns))
    parts = []
    for start in range(0, x.shape[0], each):
        views = _windows(x[start : start + each].astype(exact), kind.window, kind.outside)
        unfolded = views.transpose(0, 1, 4, 5, 2, 3).reshape(
            len(views), kind.groups, width, rows * columns
        )
        parts.append((weight @ unfolded).astype(np.int64))
    total = np.concatenate(parts).reshape(x.shape[0], out, rows, columns)
    return np.asarray(total + kind.bias.astype(np.int64)[:, None, None])
