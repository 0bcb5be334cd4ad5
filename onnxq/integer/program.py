"""A network as integers: values with exponents, and the steps between them.

A code ``c`` of a value with exponent ``e`` stands for the number ``c · 2^e``. A step computes an
accumulator of at most 32 bits from codes, shifts it right by its shift (left where that is
negative) with the program's rounding, and clips it to the codes of its output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.integer.kinds import Kind
from onnxq.quant import Rounding

Codes = NDArray[np.signedinteger[Any] | np.unsignedinteger[Any]]

#: Metadata key of a model file: how its requantization rounds.
ROUNDING_KEY = "onnxq.rounding"


@dataclass(frozen=True)
class Value:
    """One tensor of integers, for one frame.

    Attributes:
        name: the tensor's name in the model file.
        shape: its shape for one frame; the first axis is 1 and stands for the frames.
        dtype: numpy's name of the type that stores it: int8, uint8, int16, uint16 or int32.
        exponent: a code c stands for c · 2^exponent.
        low, high: smallest and largest code that can occur.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    exponent: int
    low: int
    high: int

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
