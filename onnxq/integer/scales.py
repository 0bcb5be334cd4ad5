"""Scales and zero points of QuantizeLinear and DequantizeLinear."""

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


@dataclass(frozen=True, eq=False)
class Grid:
    """The codes that a Q or DQ node uses.

    Attributes:
        scales: one, or one for each element of *axis*; float32 numbers.
        zero_points: as many, or one for all.
        axis: the axis of several scales; None for one scale.
        low, high: smallest and largest code of the format.
        dtype: numpy's name of the type that stores the codes.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None
    low: int
    high: int
    dtype: str


def grid(node: gs.Node, *, shifts: bool, centred: bool) -> Grid:
    """The grid of a QuantizeLinear or DequantizeLinear *node*.

    Args:
        node: the node.
        shifts: whether every scale has to be a power of two.
        centred: whether every zero point has to be 0.

    Raises:
        UnsupportedModelError: a scale that is not constant, not positive, or, with *shifts*, no
            power of two; with *centred* a zero point that is not 0; scales in blocks; or a format
            that is not of integers.
    """
    scale = constant_value(node.inputs[1])
    if scale is None:
        raise refused(node, "its scale is computed while the model runs")
    if int(attribute(node, "block_size", 0)):
        raise refused(node, "its scales are per block", "--granularity tensor or channel")
    if attribute(node, "output_dtype", 0) and (len(node.inputs) < 3 or not node.inputs[2].name):
        raise refused(node, "its format is an attribute, not that of a zero point")
    zero = constant_value(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2].name else None
    scales = np.atleast_1d(scale.astype(np.float64)).reshape(-1)
    zeros = np.zeros(1, np.int64) if zero is None else zero.astype(np.int64).reshape(-1)
    if centred and zeros.any():
        raise refused(node, f"its zero point is {zeros[np.flatnonzero(zeros)[0]]}, not 0")
    usable = np.isfinite(scales) & (scales > 0)
    bad = np.flatnonzero((np.frexp(scales)[0] != 0.5) if shifts else ~usable)
    if bad.size:
        what = "no power of two" if shifts else "no positive number"
        raise refused(node, f"its scale {float(scales[bad[0]])!r} is {what}")
    low, high, dtype = _format(node, zero)
    axis = int(attribute(node, "axis", 1)) if scale.size > 1 else None
    return Grid(tuple(scales.tolist()), tuple(zeros.tolist()), axis, low, high, dtype)


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
