"""Scales of one tensor, as other tools write them down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import OptionError
from onnxq.quant.affine import symmetric_zero
from onnxq.quant.dtypes import DTYPES
from onnxq.quant.qparams import QParams
from onnxq.quant.spec import PerAxis, QuantSpec


@dataclass(frozen=True, eq=False)
class Encoding:
    """A grid of 2^bits codes: the n-th, from 0 on, stands for ``(n + offset) · scale``.

    So it says nothing of whether codes are signed: ``offset = qmin − zero_point``.

    Attributes:
        name: of the tensor.
        scale: float32 [channels], or [1] for the whole tensor.
        offset: int64, as many.
        bits: width of a code.
        symmetric: whether the middle code stands for 0.
        weight: whether the tensor is constant.
    """

    name: str
    scale: NDArray[np.float32]
    offset: NDArray[np.int64]
    bits: int
    symmetric: bool
    weight: bool

    @property
    def low(self) -> NDArray[np.float64]:
        """What the smallest code stands for, [channels]."""
        return np.asarray(self.scale.astype(np.float64) * self.offset, np.float64)

    @property
    def high(self) -> NDArray[np.float64]:
        """What the largest code stands for, [channels]."""
        steps = self.offset + (1 << self.bits) - 1
        return np.asarray(self.scale.astype(np.float64) * steps, np.float64)

    def qparams(self, spec: QuantSpec, channels: int | None = None) -> QParams:
        """These scales for a tensor that was planned as *spec*, signed or unsigned as that says.

        Args:
            spec: of the plan.
            channels: along the axis of *spec*; None where that is not known.

        Raises:
            OptionError: there is another number of scales than channels, or of bits than formats.
        """
        prefix = "int" if spec.dtype.signed else "uint"
        known = DTYPES.get(f"{prefix}{self.bits}")
        if known is None or not np.all(np.isfinite(self.scale) & (self.scale > 0)):
            raise OptionError(f"'{self.name}': {self.bits} bits, scales {self.scale[:3].tolist()}",
                              why="there is no such format")  # fmt: skip
        dtype = spec.dtype if spec.dtype.bits == self.bits else known
        zero = dtype.qmin - self.offset
        if self.symmetric:
            zero = np.full_like(self.offset, symmetric_zero(spec) if dtype is spec.dtype else
                                (0 if dtype.signed else 1 << (dtype.bits - 1)))  # fmt: skip
        narrow = spec.narrow_range and self.symmetric
        if self.scale.size == 1:
            return QParams(self.scale.reshape(()), zero.reshape(()), dtype, None, narrow)
        if not isinstance(spec.granularity, PerAxis) or channels not in (None, self.scale.size):
            raise OptionError(
                f"'{self.name}' has {self.scale.size} scales",
                why=f"{channels or 1} are planned for it", hint="--granularity channel",
            )  # fmt: skip
        return QParams(self.scale, zero, dtype, spec.granularity.axis, narrow)
