"""Weights in blocks: one scale for each run of values along an axis.

A whole row is one block too, so that a scale per output channel is the same thing. The last block
of a row may be shorter. Source: ONNX operator DequantizeLinear-21 (``block_size``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from onnxq.errors import OptionError
from onnxq.quant.affine import symmetric_zero
from onnxq.quant.dtypes import INT8, DType
from onnxq.quant.qparams import QParams
from onnxq.quant.spec import PerAxis, PerBlock, QuantSpec
from onnxq.quant.weights import weight_codes, weight_qparams

_AT_ONCE = 1 << 22
"""Values that are worked on at once: temporaries stay within some 100 MB."""


@dataclass(frozen=True, eq=False)
class Nested:
    """Scales that are codes themselves: scale = codes · outer, one for *size* blocks along an axis.

    Attributes:
        codes: int8, the shape of the scales, none of them 0.
        outer: float32, that shape divided by *size* along the axis.
        size: how many scales share one of *outer*.
    """

    codes: NDArray[np.int8]
    outer: NDArray[np.float32]
    size: int

    def scale(self, axis: int) -> NDArray[np.float32]:
        """The scales, float32."""
        return np.asarray(self.codes * np.repeat(self.outer, self.size, axis), np.float32)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Scales and zero points of one weight.

    Attributes:
        scale: float32, the shape of the weight with ceil(d / size) on *axis*; the axes behind
            *axis* are left out where *flat*.
        zero_point: int64, the shape of *scale*.
        dtype: the number format.
        axis: the axis that blocks run along, from the front.
        size: values of a block.
        flat: the axes from *axis* on count as one.
        spec: how codes are rounded.
        nested: how scales are stored; None where they are floats.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    dtype: DType
    axis: int
    size: int
    flat: bool
    spec: QuantSpec
    nested: Nested | None = None

    @property
    def count(self) -> int:
        """Blocks of a row."""
        return int(self.scale.shape[self.axis])

    @property
    def qmin(self) -> int:
        """Smallest code in use."""
        return self.dtype.qmin + int(self.spec.narrow_range)

    @property
    def stored(self) -> np.dtype[Any]:
        """The numpy dtype in which codes are stored: of 2 bits where the format has 2."""
        if self.dtype.bits == 2 and not self.dtype.floating:
            kind: np.dtype[Any] = np.dtype(ml_dtypes.int2 if self.dtype.signed else ml_dtypes.uint2)
            return kind
        return self.dtype.numpy

    def quantize(self, w: NDArray[Any]) -> NDArray[Any]:
        """Codes of the weight *w*, in its shape."""
        codes = np.empty(w.shape, self.stored)
        for part in parts(w.shape, self.axis, self.size):
            codes[part] = self._codes(w[part], self.scale[part], self.zero_point[part])
        return codes

    def _codes(
        self, w: NDArray[Any], scale: NDArray[np.float32], zero: NDArray[np.int64]
    ) -> NDArray[Any]:
        if self.dtype.floating:
            found = w / self.spread(scale, w.shape)
            np.clip(found, self.qmin, self.dtype.qmax, out=found)
            return np.asarray(found.astype(self.stored))
        if self.spec.pair_sum_limit is None:
            codes = np.rint(w / self.spread(scale, w.shape))
            if zero.any():
                codes += self.spread(zero.astype(np.float32), w.shape)
            codes = np.clip(codes, self.qmin, self.dtype.qmax, out=codes).astype(np.int16)
        else:
            rows = split(w, self.axis, self.size, self.flat)
            own = QParams(
                self._column(scale), self._column(zero), self.dtype, 0, self.spec.narrow_range
            )
            codes = join(weight_codes(rows, own, self.spec), w.shape, self.axis, self.flat)
        return np.asarray(codes.astype(self.stored))

    def spread(self, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """*values*, one for each block, in a form that broadcasts to a weight of *shape*."""
        if self.count == 1:
            behind = len(shape) - values.ndim
            return values.reshape(*values.shape, *(1 for _ in range(behind)))
        length = int(np.prod(shape[self.axis :])) if self.flat else shape[self.axis]
        each = np.repeat(values, self.size, self.axis)
        each = each[(*(slice(None) for _ in range(self.axis)), slice(length))]
        return each.reshape(shape)

    def dequantize(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Real values (float32) of *codes*, in their shape."""
        zero = self.spread(self.zero_point.astype(np.float32), codes.shape)
        real = (codes.astype(np.float32) - zero) * self.spread(self.scale, codes.shape)
        return np.asarray(real, np.float32)

    def _column(self, values: NDArray[Any]) -> NDArray[Any]:
        """Parameters in the order of the rows of ``split``."""
        return np.moveaxis(values, self.axis, -1).reshape(-1)


def block_params(
    shape: tuple[int, ...], w: NDArray[Any], spec: QuantSpec, *, method: str = "minmax"
) -> Blocks:
    """Scales and zero points of the weight *w* of *shape*.

    Args:
        shape: the shape of *w*.
        w: the weight, finite.
        spec: how it is quantized; its granularity is a ``PerBlock``. Pairs of codes are limited
            along the blocks.
        method: as of ``weight_qparams``, for each block.

    Raises:
        OptionError: the granularity is another, or *w* holds NaN or Inf.
    """
    kind = spec.granularity
    if not isinstance(kind, PerBlock):
        raise OptionError(f"a weight in blocks needs a block size, not {kind}")
    axis = kind.axis % len(shape)
    length = int(np.prod(shape[axis:])) if kind.flat else shape[axis]
    size = min(kind.size, length) if kind.size else length
    one = replace(spec, granularity=PerAxis(0), pair_axis=None if spec.pair_axis is None else 1)
    wide = [*shape[:axis], -(-length // size), *(() if kind.flat else shape[axis + 1 :])]
    scale = np.empty(wide, np.float32)
    zero: NDArray[np.int64] = np.broadcast_to(np.int64(symmetric_zero(spec)), wide)
    if not spec.symmetric:
        zero = np.empty(wide, np.int64)
    for part in parts(shape, axis, size):
        rows = split(w[part], axis, size, kind.flat)
        found = weight_qparams(rows, one, 0, method=method)
        own = scale[part].shape
        order = [*own[:axis], *own[axis + 1 :], own[axis]]
        scale[part] = np.moveaxis(found.scale.reshape(order), -1, axis)
        if not spec.symmetric:
            zero[part] = np.moveaxis(found.zero_point.reshape(order), -1, axis)
    nested = _nest(scale, axis, math.gcd(scale.shape[axis], kind.nested)) if kind.nested else None
    scale = scale if nested is None else nested.scale(axis)
    return Blocks(scale, zero, spec.dtype, axis, size, kind.flat, one, nested)


def _nest(scale: NDArray[np.float32], axis: int, size: int) -> Nested | None:
    """*scale* as codes, *size* to a scale of their own; None where there would be nothing saved.

    Source: the k-quants of llama.cpp, with 8 bits for a scale.
    """
    if size < 2:
        return None
    groups = (*scale.shape[:axis], -1, size, *scale.shape[axis + 1 :])
    largest = np.abs(scale.reshape(groups)).max(axis=axis + 1)
    outer = np.asarray(largest / INT8.qmax, np.float32)
    steps = scale / np.repeat(outer, size, axis)
    codes = np.sign(steps) * np.maximum(np.rint(np.abs(steps)), 1)
    return Nested(codes.astype(np.int8), outer, size)


def split(w: NDArray[Any], axis: int, size: int, flat: bool = False) -> NDArray[Any]:
    """*w* as [blocks, size], row after row; the last block of a row is filled with zeros."""
    rows = w.reshape(*w.shape[:axis], -1) if flat else np.moveaxis(w, axis, -1)
    gap = -rows.shape[-1] % size
    if gap:
        rows = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, gap)])
    return rows.reshape(-1, size)


def join(rows: NDArray[Any], shape: tuple[int, ...], axis: int, flat: bool = False) -> NDArray[Any]:
    """The inverse of ``split`` for a weight of *shape*."""
    kept = shape[:axis] if flat else (*shape[:axis], *shape[axis + 1 :])
    length = int(np.prod(shape[axis:])) if flat else shape[axis]
    whole = rows.reshape(*kept, -1)[..., :length]
    return whole.reshape(shape) if flat else np.moveaxis(whole, -1, axis)


def parts(shape: tuple[int, ...], axis: int, size: int) -> list[tuple[slice, ...]]:
    """Slices of a weight that are worked on one after the other; scales are cut by the same.

    Along the first axis, or along the second where blocks run along the first.
    """
    along = 1 if axis == 0 and len(shape) > 1 else 0
    if axis == along:
        return [(slice(None),)]
    step = max(_AT_ONCE * shape[along] // max(int(np.prod(shape)), 1), 1)
    return [
        (*(slice(None) for _ in range(along)), slice(i, i + step))
        for i in range(0, shape[along], step)
    ]
