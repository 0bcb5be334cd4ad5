"""A network as integers: values with scales, and the steps between them.

A code ``c`` of a value stands for the number ``(c − zero_point) · scale``. A step computes an
accumulator of at most 32 bits from codes, multiplies it by its multiplier where it has one, shifts
it right by its shift (left where that is negative) with the program's rounding, adds its zero
point, and clips the sum to the codes of its output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import frexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.integer.kinds import Kind
from onnxq.quant import Rounding

Codes = NDArray[np.signedinteger[Any] | np.unsignedinteger[Any]]

#: Metadata keys of a model file: how its requantization rounds, whether it only shifts, and whether
#: there are zero points where it does.
ROUNDING_KEY = "onnxq.rounding"
REQUANTIZATION_KEY = "onnxq.requantization"
ZEROS_KEY = "onnxq.zero_points"


@dataclass(frozen=True)
class Value:
    """One tensor of integers, for one frame.

    Attributes:
        name: the tensor's name in the model file.
        shape: its shape for one frame; the first axis is 1 and stands for the frames.
        dtype: numpy's name of the type that stores it: int8, uint8, int16, uint16 or int32.
        scale, zero_point: a code c stands for (c − zero_point) · scale.
        low, high: smallest and largest code that can occur.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    low: int
    high: int

    @property
    def exponent(self) -> int | None:
        """The e of a scale 2^e; None for other scales."""
        fraction, exponent = frexp(self.scale)
        return exponent - 1 if fraction == 0.5 else None

    @property
    def size(self) -> int:
        """Number of elements of one frame."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Bytes of one frame."""
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class Step:
    """One operation on integers.

    Attributes:
        node: name of the node in the model file.
        op_type: its operator.
        kind: what is computed, with its constants.
        inputs: names of the values that it reads.
        output: name of the value that it writes.
        shifts: right shifts from accumulator to output, negative for left. One for all; or one
            for each output channel (Conv, Gemm); or one for each input (Concat).
        multipliers: as many as shifts, or none: the accumulator times 2^-31 times the multiplier,
            rounded to the nearest whole number, is what the shift gets.
        zero_point: what is added behind the shift.
        factors, offsets: of steps that only add and move: what codes are multiplied by, and what
            is added to that. One each for all; one for each input (Concat); one factor for each
            input (Add). They hold the zero points of inputs and output.
        low, high: codes that the result is clipped to.
        bits: width in bits of the accumulator that the worst case needs, with its sign.
    """

    node: str
    op_type: str
    kind: Kind
    inputs: tuple[str, ...]
    output: str
    shifts: tuple[int, ...]
    low: int
    high: int
    bits: int
    multipliers: tuple[int, ...] = ()
    zero_point: int = 0
    factors: tuple[int, ...] = (1,)
    offsets: tuple[int, ...] = (0,)

    @property
    def plain(self) -> bool:
        """Whether results are accumulators, clipped: nothing is shifted, scaled or added."""
        asked = (*self.multipliers, *self.shifts, self.zero_point, *self.offsets)
        return not any(asked) and set(self.factors) == {1}


@dataclass(frozen=True, eq=False)
class Program:
    """A network of integers alone.

    Attributes:
        inputs, outputs: names of the values that a caller gives and gets, and the names that
            the model file has for them, in its order.
        values: every value by name.
        constants: codes of the values that are constant.
        steps: what to do, in order.
        rounding: how a right shift rounds.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    values: Mapping[str, Value]
    constants: Mapping[str, Codes]
    steps: tuple[Step, ...]
    rounding: Rounding
