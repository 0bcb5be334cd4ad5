"""Relu, Clip, and Min and Max with one number, as an interval."""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute, constant_value
from onnxq.passes._scope import present

OPS = ("Relu", "Clip", "Min", "Max")
Interval = tuple[float, float]


def bounds(node: gs.Node) -> Interval | None:
    """``(low, high)`` of a node that computes ``min(max(x, low), high)``; None where it does not.

    A bound as far out as the largest number of its type counts as infinite.
    """
    if node.op == "Relu":
        return 0.0, math.inf
    if node.op == "Clip":
        low, high = _end(node, 1, "min", -math.inf), _end(node, 2, "max", math.inf)
        return None if low is None or high is None else _interval(low, high)
    if node.op not in {"Min", "Max"} or len(node.inputs) != 2:
        return None
    index = operand(node)
    value = constant_value(node.inputs[1 - index])
    if value is None or value.size != 1 or value.dtype.kind != "f":
        return None
    number = _open(value)
    if number is None:
        return None
    return _interval(-math.inf, number) if node.op == "Min" else _interval(number, math.inf)


def _interval(low: float, high: float) -> Interval | None:
    return None if low > high or low == math.inf or high == -math.inf else (low, high)


def operand(node: gs.Node) -> int:
    """Which input of *node* is x."""
    if node.op in {"Min", "Max"} and constant_value(node.inputs[0]) is not None:
        return 1
    return 0


def joined(first: Interval, then: Interval) -> Interval:
    """The interval of *then* behind *first*: its ends are those of *first*, limited to *then*."""
    low, high = (min(max(e, then[0]), then[1]) for e in first)
    return low, high


def _end(node: gs.Node, index: int, name: str, default: float) -> float | None:
    if name in node.attrs:
        return _open(np.asarray(attribute(node, name), dtype=np.float32))
    if not present(node, index):
        return default
    value = constant_value(node.inputs[index])
    return None if value is None or value.size != 1 or value.dtype.kind != "f" else _open(value)


def _open(value: NDArray[np.floating]) -> float | None:
    number, largest = float(value.reshape(())), float(np.finfo(value.dtype).max)
    if math.isnan(number):
        return None
    return math.copysign(math.inf, number) if abs(number) >= largest else number
