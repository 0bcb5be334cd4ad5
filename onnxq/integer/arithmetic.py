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
    Kind,
    MaxPool,
    Mul,
    Pad,
    Reshape,
    Table,
    Take,
    Transpose,
    Window,
)

Int64 = NDArray[np.int64]

#: Elements of the unfolded input of a convolution at a time.
UNFOLDED = 1 << 23


def accumulate(
    kind: Kind, inputs: Sequence[NDArray[Any]], shape: tuple[int, ...], bits: int
) -> Int64:
    """Accumulators [frames, …] of *kind*; Concat is not one, for its parts differ in shift.

    Args:
        kind: what is computed.
        inputs: codes [frames, …].
        shape: the output's, for one frame.
        bits: what the worst case needs.
    """
    x = inputs[0]
    match kind:
        case Conv():
            return _conv(kind, x, np.float32 if bits <= 24 else np.float64)
        case Gemm():
            exact = np.float32 if bits <= 24 else np.float64
            product = x.astype(exact) @ kind.weight.T.astype(exact)
            return np.asarray(product.astype(np.int64) + kind.bias.astype(np.int64))
        case Add():
            parts = zip(inputs, kind.lefts, kind.signs, strict=True)
            return np.asarray(sum(sign * (_wide(v) << left) for v, left, sign in parts))
        case Mul():
            return _wide(x) * _wide(inputs[1])
        case MaxPool():
            least = int(np.iinfo(x.dtype).min)
            return _wide(_windows(x, kind.window, least).max(axis=(-2, -1)))
        case AveragePool():
            total = _windows(x, kind.window, 0).sum(axis=(-2, -1), dtype=np.int64)
            return np.asarray(total * kind.multiplier)
        case Take():
            frames = np.arange(x.shape[0])
            return _wide(x[np.ix_(frames, *kind.indices)])
        case Pad():
            widths = [(0, 0), *zip(kind.before, kind.after, strict=True)]
            return np.pad(_wide(x), widths, constant_values=kind.fill)
        case Transpose():
            return _wide(x).transpose(kind.order)
        case Reshape():
            return _wide(x).reshape(x.shape[0], *shape[1:])
        case Table():
            return np.asarray(kind.codes[_wide(x) - int(np.iinfo(x.dtype).min)])
        case Copy() | Concat():
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
        views = _windows(x[start : start + each].astype(exact), kind.window, 0)
        unfolded = views.transpose(0, 1, 4, 5, 2, 3).reshape(
            len(views), kind.groups, width, rows * columns
        )
        parts.append((weight @ unfolded).astype(np.int64))
    total = np.concatenate(parts).reshape(x.shape[0], out, rows, columns)
    return np.asarray(total + kind.bias.astype(np.int64)[:, None, None])
