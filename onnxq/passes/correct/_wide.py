"""Formats with more steps than rounding needs."""

from __future__ import annotations

from onnxq.quant import QuantSpec
from onnxq.targets import Target

_WIDE = 16
"""From so many bits, clipping one value costs more than steps twice as large."""


def has_room(spec: QuantSpec | None, target: Target) -> bool:
    """Whether an activation of *spec* may cover more than what was seen at next to no cost.

    Targets that compute on integers alone have accumulators to think of.
    """
    return spec is not None and spec.dtype.bits >= _WIDE and target.integer is None
