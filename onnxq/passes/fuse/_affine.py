"""Mul, Add, Sub and Div by a constant, as a factor and a shift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import constant_value

OPS = ("Mul", "Add", "Sub", "Div")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """``y = factor·x + shift``; one of the two is a plain number.

    Attributes:
        index: which input of the node is x.
        factor, shift: shaped as the constant is stored, broadcastable to y.
    """

    index: int
    factor: Floats
    shift: Floats


def affine(node: gs.Node) -> Affine | None:
    """*node* as an affine function of one input; None where it is none (such as 1/x)."""
    values = [constant_value(t) for t in node.inputs]
    if (values[0] is None) == (values[1] is None):
        return None
    index = 0 if values[0] is None else 1
    stored = values[1 - index]
    if stored is None or stored.dtype.kind != "f" or stored.size == 0:
        return None
    c = stored.astype(np.float64)
    one, zero = np.float64(1), np.float64(0)
    if node.op == "Add":
        return Affine(index, np.asarray(one), c)
    if node.op == "Sub":
        return Affine(index, *((np.asarray(one), -c) if index == 0 else (np.asarray(-one), c)))
    if node.op == "Mul":
        return Affine(index, c, np.asarray(zero))
    if index == 0 and (c != 0).all():
        return Affine(index, 1 / c, np.asarray(zero))
    return None


def per_channel(value: Floats, rank: int, axis: int, channels: int) -> Floats | None:
    """*value* as [channels] where it varies along *axis* of a tensor of *rank* only, else None."""
    if value.ndim > rank:
        return None
    shape = (1,) * (rank - value.ndim) + value.shape
    if any(d != 1 for i, d in enumerate(shape) if i != axis % rank):
        return None
    if shape[axis] not in {1, channels}:
        return None
    return np.broadcast_to(value.reshape(-1), (channels,)).copy()
