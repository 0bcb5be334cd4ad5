"""What a step computes. Constants are integers; frames lie along the first axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.signedinteger[Any]]
Pair = tuple[int, int]
Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class Window:
    """Where a window looks: height and width of it, of its steps and of its holes.

    Attributes:
        kernel, strides, dilations: (height, width).
        pads: rows and columns around the input (top, left, bottom, right).
    """

    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: Four

    def output(self, height: int, width: int) -> Pair:
        """Positions of the window (rows, columns) on an input of *height* and *width*."""
        top, left, bottom, right = self.pads
        span = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        return (
            (height + top + bottom - span[0]) // self.strides[0] + 1,
            (width + left + right - span[1]) // self.strides[1] + 1,
        )


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution: weight [out, in / groups, height, width], bias [out] at the accumulator's.

    Around the input lies the code *outside*, its zero point; what that adds up to is in the bias,
    ``bias − zero point · Σ weight``.
    """

    weight: Integers
    bias: Integers
    window: Window
    groups: int
    outside: int = 0


@dataclass(frozen=True, eq=False)
class Gemm:
    """out[…, o] = Σ x[…, i] · weight[o, i] + bias[o]; the bias holds the zero point as in Conv."""

    weight: Integers
    bias: Integers


@dataclass(frozen=True)
class Add:
    """Sum of the inputs, each times its factor, which brings them to one scale."""


@dataclass(frozen=True)
class Mul:
    """Product of two inputs, less their zero points."""

    zero_points: Pair = (0, 0)


@dataclass(frozen=True)
class Concat:
    """Inputs one after the other along *axis*; each has its own shift."""

    axis: int


@dataclass(frozen=True)
class MaxPool:
    """Largest code in each window; what lies outside counts for nothing."""

    window: Window


@dataclass(frozen=True)
class AveragePool:
    """Sum of each window, less zero points, times *factor*; outside of the input is 0.

    Where programs only shift, 2^-bits · factor stands for 1 / elements; where the number of
    elements is a power of two, factor is 1 and bits its logarithm. Elsewhere, factor is a power of
    two that makes the sum wide enough for its multiplier.
    """

    window: Window
    factor: int = 1
    bits: int = 0
    zero_point: int = 0


@dataclass(frozen=True, eq=False)
class Take:
    """Elements at the given indices of each axis but the first (Resize, Slice)."""

    indices: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class Pad:
    """*fill* around the input: elements before and after, for each axis."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    fill: int


@dataclass(frozen=True)
class Reshape:
    """The same elements in the same order, in the output's shape."""


@dataclass(frozen=True)
class Transpose:
    """Axes in another order; the first stays."""

    order: tuple[int, ...]


@dataclass(frozen=True)
class Copy:
    """The input itself: to clip it, or to give it another exponent or type."""


@dataclass(frozen=True, eq=False)
class Table:
    """The output of each of the 256 codes of an input of 8 bits, from the smallest code on."""

    codes: Integers


@dataclass(frozen=True, eq=False)
class PRelu:
    """(x − zero point) · (*above* where that is positive, else *below* of the channel)."""

    above: int
    below: Integers
    zero_point: int = 0


@dataclass(frozen=True, eq=False)
class Softmax:
    """*one* · e(x) / Σ e along *axis*, rounded down; e(x) = exponentials[largest x − x].

    Attributes:
        exponentials: of the 256 differences that codes of 8 bits can have, falling.
        one: what stands for 1.
        axis: along which the results add up to 1.
    """

    exponentials: Integers
    one: int
    axis: int


Kind: TypeAlias = (
    Conv | Gemm | Add | Mul | Concat | MaxPool | AveragePool | Take | Pad | Reshape
    | Transpose | Copy | Table | PRelu | Softmax
)  # fmt: skip
