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
    """Convolution: weight [out, in / groups, height, width], bias [out] at the accumulator's."""

    weight: Integers
    bias: Integers
    window: Window
    groups: int


@dataclass(frozen=True, eq=False)
class Gemm:
    """out[…, o] = Σ x[…, i] · weight[o, i] + bias[o]."""

    weight: Integers
    bias: Integers


@dataclass(frozen=True)
class Add:
    """Σ sign · (input << left): inputs brought to the smallest of their exponents."""

    lefts: tuple[int, ...]
    signs: tuple[int, ...]


@dataclass(frozen=True)
class Mul:
    """Product of two inputs."""


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
    """Sum of each window times *multiplier*; 2^-bits · multiplier stands for 1 / elements.

    Where the number of elements is a power of two, multiplier is 1 and bits its logarithm.
    """

    window: Window
    multiplier: int
    bits: int


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


Kind: TypeAlias = (
    Conv | Gemm | Add | Mul | Concat | MaxPool | AveragePool | Take | Pad | Reshape
    | Transpose | Copy | Table
)  # fmt: skip
