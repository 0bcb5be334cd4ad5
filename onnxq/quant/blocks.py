"""Weights in blocks: one scale for each run of values along an axis.

A whole row is one block too, so that a scale per output channel is the same thing. The last block
of a row may be shorter. Source: ONNX operator DequantizeLinear-21 (``block_size``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from onnxq.errors import OptionError
from onnxq.quant.dtypes import DType
from onnxq.quant.qparams import QParams
from onnxq.quant.spec import PerAxis, PerBlock, QuantSpec
from onnxq.quant.weights import weight_codes, weight_qparams

_AT_ONCE = 1 << 22
"""Values that are worked on at once: temporaries stay within some 100 MB."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Scales and zero points of one weight.

    Attributes:
        scale: float32, the shape of the weight with ceil(d / size) on *axis*; the axes behind
            *axis* are left out where *flat*.
        zero_point: int64, the shape of *scale*.
        dtype: the integer format.
        axis: the axis that blocks run along, from the front.
        size: values of a block.
        flat: the axes from *axis* on count as one.
        spec: how codes are rounded.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    dtype: DType
    axis: int
    size: int
    flat: bool
    spec: QuantSpec

    @property
    def count(self) -> int:
        """Blocks of a row."""
        return int(self.scale.shape[self.axis])

    @property
    def stored(self) -> np.dtype[Any]:
        """The numpy dtype in which codes are stored: of 2 bits where the format has 2."""
        if self.dtype.bits == 2:
            kind: np.dtype[Any] = np.dtype(ml_dtypes.int2 if self.dtype.signed else ml_dtypes.uint2)
            return kind
        return self.dtype.numpy

    def quantize(self, w: NDArray[Any]) -> NDArray[Any]:
        """Codes of the weight *w*, in its shape."""
        rows = split(w, self.axis, self.size, self.flat)
        scale, zero = self._column(self.scale), self._column(self.zero_point)
        codes = np.empty(rows.shape, self.dtype.numpy)
        for part in _parts(rows):
            own = QParams(scale[part], zero[part], self.dtype, 0, self.spec.narrow_range)
            codes[part] = weight_codes(rows[part], own, self.spec)
        whole = join(codes, w.shape, self.axis, self.flat)
        # there is no conversion from one short type to another
        return whole if whole.dtype == self.stored else whole.astype(np.int8).astype(self.stored)

    def dequantize(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Real values (float32) of *codes*, in their shape."""
        rows = split(codes.astype(np.float32), self.axis, self.size, self.flat)
        scale, zero = self._column(self.scale), self._column(self.zero_point)
        real = (rows - zero[:, None].astype(np.float32)) * scale[:, None]
        return np.asarray(join(real, codes.shape, self.axis, self.flat), np.float32)

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
    rows = split(w, axis, size, kind.flat)
    found = [weight_qparams(rows[part], one, 0, method=method) for part in _parts(rows)]
    wide = [*shape[:axis], *(() if kind.flat else shape[axis + 1 :]), -1]

    def place(parts: list[NDArray[Any]]) -> NDArray[Any]:
        return np.ascontiguousarray(np.moveaxis(np.concatenate(parts).reshape(wide), -1, axis))

    return Blocks(
        place([q.scale for q in found]), place([q.zero_point for q in found]),
        spec.dtype, axis, size, kind.flat, one,
    )  # fmt: skip


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


def _parts(rows: NDArray[Any]) -> list[slice]:
    """Rows to be worked on at once."""
    step = max(_AT_ONCE // max(rows.shape[1], 1), 1)
    return [slice(i, i + step) for i in range(0, len(rows), step)]
