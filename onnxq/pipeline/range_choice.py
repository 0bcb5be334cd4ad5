"""Why a tensor has the range that it has, where methods were compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RangeChoice:
    """What was chosen for a tensor.

    Attributes:
        method: the method, or the power of two.
        reason: a sentence.
        errors: by method, noise to signal behind the layers that read the tensor.
    """

    method: str
    reason: str
    errors: Mapping[str, float]
