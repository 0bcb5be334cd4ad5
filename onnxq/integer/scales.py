"""Scales and zero points of QuantizeLinear and DequantizeLinear, as exponents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute, constant_value
from onnxq.integer.refuse import refused
from onnxq.quant import DTYPES

#: numpy's names of the types that store codes, by the format's name; sub-byte formats lie in int8.
_STORED = {"int4": "int8", "uint4": "uint8", "int2": "int8", "uint2": "uint8"}
_WHOLE = ("int8", "uint8", "int16", "uint16", "int32")


@dataclass(frozen=True)
class Grid:
    """The codes that a Q or DQ node uses.

    Attributes:
        exponents: log2 of the scales: one, or one for each element of *axis*.
        axis: the axis of several scales; None for one scale.
        low, high: smallest and largest code of the format.
        dtype: numpy's name of the type that stores the codes.
    """

    exponents: tuple[int, ...]
    axis: int | None
    low: int
    high: int
    dtype: str


def grid(node: gs.Node) -> Grid:
    """The grid of a QuantizeLinear or DequantizeLinear *node*.

    Raises:
        UnsupportedModelError: a scale that is no constant power of two, a zero point that is not
            0, scales in blocks, or a format that is not of integers.
    """
    scale = constant_value(node.inputs[1])
    if scale is None:
        raise refused(node, "its scale is computed while the model runs")
    if int(attribute(node, "block_size", 0)):
        raise refused(node, "its scales are per block", "--granularity tensor or channel")
    if attribute(node, "output_dtype", 0) and (len(node.inputs) < 3 or not node.inputs[2].name):
        raise refused(node, "its format is an attribute, not that of a zero point")
    zero = constant_value(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2].name else None
    if zero is not None and np.any(zero.astype(np.int64)):
        first = zero.astype(np.int64).flat[int(np.flatnonzero(zero)[0])]
        raise refused(node, f"its zero point is {first}, not 0")
    scales = np.atleast_1d(scale.astype(np.float64))
    fractions, exponents = np.frexp(scales)
    bad = np.flatnonzero(fractions != 0.5)
    if bad.size:
        raise refused(node, f"its scale {float(scales[bad[0]])!r} is no power of two")
    low, high, dtype = _format(node, zero)
    axis = int(attribute(node, "axis", 1)) if scale.size > 1 else None
    return Grid(tuple(int(e) - 1 for e in exponents), axis, low, high, dtype)


def _format(node: gs.Node, zero: NDArray[Any] | None) -> tuple[int, int, str]:
    if zero is not None:
        name = zero.dtype.name
    elif node.op == "DequantizeLinear" and node.inputs[0].dtype is not None:
        name = np.dtype(node.inputs[0].dtype).name
    else:
        name = "uint8"  # what QuantizeLinear writes where it has no zero point
    stored = _STORED.get(name, name)
    if stored not in _WHOLE:
        raise refused(node, f"its codes are {name}")
    known = DTYPES[name]
    return known.qmin, known.qmax, stored
