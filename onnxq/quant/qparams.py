"""Scales and zero points, and what they do to numbers.

    q = clip(round(x / s) + z, qmin, qmax)        x̂ = (q − z) · s

Source: ONNX operators QuantizeLinear and DequantizeLinear; Jacob et al. 2018, section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.dtypes import DType


@dataclass(frozen=True, eq=False)
class QParams:
    """Scale and zero point of one tensor.

    Attributes:
        scale: float32, shape [] (one for the tensor) or [C] (one for each index of *axis*).
        zero_point: int64, the shape of *scale*.
        dtype: the number format.
        axis: the axis that *scale* runs along; None where scale is a scalar.
        narrow_range: whether the most negative code of the format is not in use.
        codes: smallest and largest code in use, where narrower than the format.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    dtype: DType
    axis: int | None = None
    narrow_range: bool = False
    codes: tuple[int, int] | None = None

    @property
    def qmin(self) -> int:
        """Smallest code in use."""
        return self.dtype.qmin + int(self.narrow_range) if self.codes is None else self.codes[0]

    @property
    def qmax(self) -> int:
        """Largest code in use."""
        return self.dtype.qmax if self.codes is None else self.codes[1]

    def _along(self, values: NDArray[Any], rank: int) -> NDArray[Any]:
        """*values* shaped to broadcast against a tensor of *rank* along ``axis``."""
        if self.axis is None:
            return values
        shape = [1] * rank
        shape[self.axis % rank] = -1
        return values.reshape(shape)

    def along(self, rank: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scale and zero point, shaped to broadcast against a tensor of *rank*."""
        return self._along(self.scale, rank), self._along(self.zero_point, rank)

    def quantize(self, x: NDArray[Any]) -> NDArray[Any]:
        """Codes of *x* (any shape), in the format's numpy dtype; nearest, ties to even."""
        scale, zero = self.along(x.ndim)
        if self.dtype.floating:
            codes: NDArray[Any] = np.asarray(x.astype(np.float32, copy=False) / scale, np.float32)
            return np.clip(codes, self.qmin, self.qmax, out=codes).astype(self.dtype.numpy)
        # what float32 cannot hold exactly lies far beyond the codes of up to 16 bits
        wide = np.float32 if self.dtype.bits <= 16 else np.float64
        codes = np.asarray(np.rint(x.astype(np.float32, copy=False) / scale), wide)
        codes = np.asarray(codes + zero.astype(wide))
        np.clip(codes, self.qmin, self.qmax, out=codes)
        return codes.astype(self.dtype.numpy)

    def dequantize(self, q: NDArray[Any]) -> NDArray[np.float32]:
        """Real values (float32) of the codes *q*."""
        scale, zero = self.along(q.ndim)
        if self.dtype.bits <= 16:  # differences of such codes are exact in float32
            steps = q.astype(np.float32) - zero.astype(np.float32)
        else:
            steps = (q.astype(np.int64) - zero).astype(np.float32)
        return np.asarray(steps * scale, np.float32)

    def fake(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """*x* after a round trip through the codes."""
        return self.dequantize(self.quantize(x))

    @property
    def real_range(self) -> tuple[float, float]:
        """Smallest and largest real value that a code stands for (over all channels)."""
        zero = self.zero_point.astype(np.float64)
        low = (self.qmin - zero) * self.scale.astype(np.float64)
        high = (self.qmax - zero) * self.scale.astype(np.float64)
        return float(low.min()), float(high.max())
