"""Grids that quantization-aware training has chosen: what its fake quantization rounded to.

A value x becomes x̂ = (clip(round(x / s) + z, low, high) − z) · s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainedGrid:
    """The grid of an activation, one scale for the tensor.

    Attributes:
        scale: s, as a float32 value.
        zero_point: z.
        low, high: the codes in use.
    """

    scale: float
    zero_point: int
    low: int
    high: int

    @property
    def steps(self) -> tuple[float, int, int]:
        """Equal for grids that stand for the same real values, whatever type numbers them."""
        return self.scale, self.low - self.zero_point, self.high - self.zero_point

    @property
    def bits(self) -> int:
        """Bits that number the codes in use."""
        return max(self.high - self.low, 1).bit_length()


@dataclass(frozen=True, eq=False)
class TrainedWeight:
    """The grid of a weight, and its codes.

    Attributes:
        steps: codes less their zero points, integers, the shape of the weight.
        scale: float64, broadcastable against *steps*.
        bits: bits that number the codes that training allowed.
    """

    steps: NDArray[np.signedinteger[Any]]
    scale: NDArray[np.float64]
    bits: int

    @property
    def values(self) -> NDArray[np.float32]:
        """The real values that the codes stand for: the weight that training has computed with."""
        return np.asarray(self.steps * self.scale, np.float32)


@dataclass
class Trained:
    """What a model came with.

    Attributes:
        activations: by tensor name.
        weights: by node name and the index of its input.
        kept: by tensor name of a weight whose codes the plan keeps, how many bits number them.
        apart: by name of a tensor beside a fake quantization that no kernel can take over, why.
        read: whether the model was searched for fake quantization.
    """

    activations: dict[str, TrainedGrid] = field(default_factory=dict)
    weights: dict[tuple[str, int], TrainedWeight] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)
    read: bool = False
