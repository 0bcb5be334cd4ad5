"""From real ranges to scales and zero points, for any number of ranges at once.

    asymmetric:  s = (high − low) / (qmax − qmin)         z = round(qmin − low / s)
    symmetric:   s = max(high / (qmax − z), −low / (z − qmin))     z = 0, or the middle code

Ranges are widened to hold zero, so that zero is a code (padding and ReLU stay exact).
Source: Jacob et al. 2018, section 3.1; Krishnamoorthi 2018, section 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.spec import QuantSpec, ScaleRule

#: A smaller step is no signal: products of such scales would leave float32's normal numbers.
SMALLEST_SCALE = 2.0**-60


def codes_in_use(spec: QuantSpec) -> tuple[int, int]:
    """Smallest and largest code that *spec* uses."""
    return spec.dtype.qmin + int(spec.narrow_range), spec.dtype.qmax


def symmetric_zero(spec: QuantSpec) -> int:
    """The zero point of a symmetric *spec*: 0 where signed, else the middle code."""
    return 0 if spec.dtype.signed else 1 << (spec.dtype.bits - 1)


def ceil_power_of_two(scale: NDArray[Any]) -> NDArray[np.float64]:
    """The smallest powers of two that are no smaller than *scale* (any shape, positive)."""
    mantissa, exponent = np.frexp(scale)
    return np.asarray(np.ldexp(1.0, exponent - (mantissa == 0.5)), np.float64)


def affine(
    low: NDArray[Any], high: NDArray[Any], spec: QuantSpec
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scales (float32) and zero points (int64) of the ranges ``low … high``, of their shape.

    A range without extent (all zero, or below ``SMALLEST_SCALE`` a step) gets the scale 1.
    """
    low = np.minimum(np.asarray(low, np.float64), 0.0)
    high = np.maximum(np.asarray(high, np.float64), 0.0)
    if spec.limits is not None:
        low, high = (
            np.maximum(low, min(spec.limits[0], 0.0)),
            np.minimum(high, max(spec.limits[1], 0.0)),
        )
    qmin, qmax = codes_in_use(spec)
    if spec.symmetric:
        zero = np.full(low.shape, symmetric_zero(spec), np.int64)
        scale = np.maximum(high / (qmax - zero), -low / (zero - qmin))
    else:
        scale = (high - low) / (qmax - qmin)
    scale = np.where(scale < SMALLEST_SCALE, 1.0, scale)
    if spec.scale is ScaleRule.POWER_OF_TWO:
        scale = ceil_power_of_two(scale)
    scale32 = np.minimum(scale, np.finfo(np.float32).max).astype(np.float32)
    if not spec.symmetric:
        # the zero point belongs to the scale as stored, so it is rounded after the scale is
        zero = np.clip(np.rint(qmin - low / scale32.astype(np.float64)), qmin, qmax).astype(
            np.int64
        )
    return scale32, zero
