"""What a tensor is to be quantized to: decided by planning, before any number is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from onnxq.quant.dtypes import INT32, DType
from onnxq.quant.qparams import QParams


@dataclass(frozen=True)
class PerTensor:
    """One scale for the whole tensor."""


@dataclass(frozen=True)
class PerAxis:
    """One scale for each index of *axis*: the axis named is the axis kept."""

    axis: int


@dataclass(frozen=True)
class PerBlock:
    """One scale for each run of *size* values along *axis*; 0 is the whole length.

    Where *flat*, the axes from *axis* on count as one. *nested* blocks share a scale of their
    scales, which are int8 codes then; 0: scales are float32.
    """

    axis: int
    size: int
    flat: bool = False
    nested: int = 0


Granularity: TypeAlias = PerTensor | PerAxis | PerBlock


class ScaleRule(Enum):
    """Which scales the hardware can apply."""

    ANY = "any"
    POWER_OF_TWO = "power-of-two"


class Rounding(Enum):
    """How a real number becomes an integer."""

    NEAREST_EVEN = "nearest-even"
    HALF_UP = "half-up"
    HALF_DOWN = "half-down"
    HALF_AWAY = "half-away"
    FLOOR = "floor"
    CEIL = "ceil"
    TOWARD_ZERO = "toward-zero"


@dataclass(frozen=True, kw_only=True)
class QuantSpec:
    """How one tensor is quantized.

    Attributes:
        dtype: the number format.
        granularity: how many scales the tensor has.
        symmetric: the zero point is 0 (signed) or the middle code (unsigned).
        narrow_range: the most negative code is not used, so that codes are ± alike.
        scale: which scales are allowed.
        rounding: how reals become codes.
        pair_sum_limit: no two codes of equal sign in one channel add up to more than this in
            magnitude. 128 makes 8-bit weights safe on kernels that add two uint8 × int8 products
            in 16 bits: 255 · 128 = 32,640 < 2¹⁵ (VPMADDUBSW, CPUs without VNNI).
        pair_axis: the axis of the weight along which neighbours 2j, 2j + 1 are the ones that the
            kernel adds (it runs fastest in the kernel's order of summation); None where the order
            is not known, so that any two codes may meet.
        limits: real values beyond which the range never reaches, such as (0, 6) behind a ReLU6.
        through: name of the activation function (of ``onnxq.quant.activations``) that is all that
            reads the tensor: what counts is the error behind it.
        through_scale: the s of s · f(x / s), where that is the function f that is read.
        signed_scale: scales may be negative: the smallest code, of which there is one more than
            of the largest, then stands for the side of zero that reaches further.
        floors: by channel (axis 1), values below which all that reads the tensor makes nothing of
            it: SiLU gates whose channels close at different places. They count as the floor.
    """

    dtype: DType
    granularity: Granularity = PerTensor()
    symmetric: bool = False
    narrow_range: bool = False
    scale: ScaleRule = ScaleRule.ANY
    rounding: Rounding = Rounding.NEAREST_EVEN
    pair_sum_limit: int | None = None
    pair_axis: int | None = None
    limits: tuple[float, float] | None = None
    through: str | None = None
    floors: tuple[float, ...] | None = None
    through_scale: float = 1.0
    signed_scale: bool = False


@dataclass(frozen=True)
class Shared:
    """The tensor has the parameters of the tensor *with_* (data movement, aligned joins)."""

    with_: str


@dataclass(frozen=True)
class Derived:
    """Parameters follow from others: a bias of scale ``s_x · s_w``, zero point 0."""

    from_: tuple[str, str]
    dtype: DType = INT32


@dataclass(frozen=True)
class Fixed:
    """Parameters are given (by the user, by training, or by the operator's mathematics)."""

    qparams: QParams


@dataclass(frozen=True)
class Float:
    """The tensor stays in floating point, and why."""

    reason: str


TensorPlan: TypeAlias = QuantSpec | Shared | Derived | Fixed | Float
