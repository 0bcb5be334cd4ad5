"""Fake quantization written as arithmetic around a Round.

With affine steps before and behind, in any order, and clamps anywhere between,

    u = a·x + b        r = round(u)        x̂ = c·r + d

only rounds where c = 1 / a and d = −b / a: the scale is c, the zero point b, and the codes are
what the clamps leave of r. ``Floor(u + ½)`` is a rounding too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute, consumers, producer
from onnxq.passes._fake_qdq import Value
from onnxq.passes._scope import is_standard, present

Array = NDArray[np.float64]
_AFFINE = ("Add", "Sub", "Mul", "Div")
_CLAMPS = ("Clip", "Min", "Max")


@dataclass(frozen=True, eq=False)
class Chain:
    """Arithmetic that only rounds.

    Attributes:
        source: x.
        result: x̂.
        scale: c, shape [] or broadcastable against x.
        zero_point: b, likewise.
        low, high: the smallest and the largest r; infinite where nothing clamps.
    """

    source: gs.Tensor
    result: gs.Tensor
    scale: Array
    zero_point: Array
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class _Side:
    """A tensor t beside the rounding, in terms of which value is gain · t + shift.

    Before the rounding that value is u, and *low*, *high* limit it; behind it t is
    gain · r + shift, and they limit r. *steps* counts the factors in between.
    """

    tensor: gs.Tensor
    gain: Array
    shift: Array
    low: float = -np.inf
    high: float = np.inf
    steps: int = 0


def rounding_chain(node: gs.Node, value: Value, outputs: set[int]) -> Chain | str:
    """The fake quantization around *node*, a Round or Floor; or why it is none.

    *outputs* are the ids of graph outputs.
    """
    half = 0.5 if node.op == "Floor" else 0.0
    start = _Side(node.inputs[0], np.asarray(1.0), np.asarray(-half))
    before = list(_up(start, value))
    found, most, bounded = None, -1, False
    for behind in _down(node, value, outputs):
        for side in before:
            chain, steps = _joined(side, behind), side.steps + behind.steps
            if chain is None or not (side.steps and behind.steps) or steps < most:
                continue
            finite = bool(np.isfinite([chain.low, chain.high]).all())
            if steps > most or (finite and not bounded):  # of equal ones, that with fewer clamps
                found, most, bounded = chain, steps, finite
    if found is None:
        return "what is before and behind it is no scale and its inverse"
    if not bounded and value(found.source) is None:  # a weight's codes are what they are
        return "nothing clamps its codes"
    return _straight_through(found)


def _joined(before: _Side, behind: _Side) -> Chain | None:
    a, b, c, d = before.gain, before.shift, behind.gain, behind.shift
    try:
        same = np.allclose(a * c, 1.0, rtol=1e-4) and np.allclose(d, -b * c, 1e-4, 1e-3 * c.min())
    except ValueError:  # shapes that do not fit
        return None
    zero = np.rint(b)
    if not same or not (c > 0).all() or np.abs(zero - b).max() > 1e-2:
        return None
    low, high = max(np.rint(before.low), behind.low), min(np.rint(before.high), behind.high)
    above = producer(before.tensor)
    if zero.size == 1 and above is not None and above.op == "Relu":
        low = max(low, float(zero.reshape(())))
    return Chain(before.tensor, behind.tensor, c, zero, float(low), float(high))


def _up(side: _Side, value: Value) -> Iterator[_Side]:
    """The tensors before the rounding, nearest first."""
    while True:
        yield side
        node = producer(side.tensor)
        if node is None or not is_standard(node):
            return
        if node.op in _CLAMPS:
            limits = _clamp(node, value)
            if limits is None or side.gain.size > 1 or side.shift.size > 1:
                return
            ends = np.sort([float(side.gain * e + side.shift) for e in limits])
            side = replace(
                side, tensor=node.inputs[0], low=max(side.low, ends[0]),
                high=min(side.high, ends[1]),
            )  # fmt: skip
            continue
        step = _affine(node, value)
        if step is None:
            return
        tensor, gain, shift = step
        side = replace(
            side, tensor=tensor, gain=side.gain * gain, shift=side.shift + side.gain * shift,
            steps=side.steps + int(node.op in ("Mul", "Div")),
        )  # fmt: skip


def _down(node: gs.Node, value: Value, outputs: set[int]) -> Iterator[_Side]:
    """The tensors behind the rounding, nearest first."""
    rounded = _around(node.outputs[0], node.inputs[0])
    side = _Side(rounded, np.asarray(1.0), np.asarray(0.0))
    while True:
        yield side
        users = consumers(side.tensor)
        if len(users) != 1 or id(side.tensor) in outputs or not is_standard(users[0][0]):
            return
        user = users[0][0]
        if user.op in _CLAMPS:
            limits = _clamp(user, value)
            if limits is None or user.inputs[0] is not side.tensor or side.gain.size > 1:
                return
            if side.shift.size > 1:
                return
            ends = np.sort([float((e - side.shift) / side.gain) for e in limits])
            side = replace(
                side, tensor=user.outputs[0], low=max(side.low, np.rint(ends[0])),
                high=min(side.high, np.rint(ends[1])),
            )  # fmt: skip
            continue
        step = _affine(user, value, side.tensor)
        if step is None:
            return
        _, gain, shift = step
        side = replace(
            side, tensor=user.outputs[0], gain=side.gain * gain, shift=side.shift * gain + shift,
            steps=side.steps + int(user.op in ("Mul", "Div")),
        )  # fmt: skip


def _affine(
    node: gs.Node, value: Value, flow: gs.Tensor | None = None
) -> tuple[gs.Tensor, Array, Array] | None:
    """The tensor t of ``gain · t + shift`` that *node* computes, with the two; else None.

    Where both of its inputs are known, t is *flow*, or the larger one.
    """
    if node.op not in _AFFINE:
        return None
    values = [value(t) for t in node.inputs]
    index = 0 if values[1] is not None else 1
    if flow is not None:
        index = 0 if node.inputs[0] is flow else 1
    elif all(v is not None for v in values):
        sizes = [v.size for v in values if v is not None]
        index = int(sizes[1] > sizes[0])
    constant: Any = values[1 - index]
    if constant is None or (index == 1 and node.op in ("Sub", "Div")):
        return None
    if constant.dtype.kind != "f" or node.inputs[index] is node.inputs[1 - index]:
        return None
    c = np.asarray(constant, np.float64)
    c = c.reshape(()) if c.size == 1 else c
    unit, none = np.asarray(1.0), np.asarray(0.0)
    if node.op in ("Mul", "Div"):
        if not (c != 0).all():
            return None
        return node.inputs[index], c if node.op == "Mul" else 1.0 / c, none
    return node.inputs[index], unit, c if node.op == "Add" else -c


def _clamp(node: gs.Node, value: Value) -> tuple[float, float] | None:
    """What *node* clamps its first input to; None where that is computed, or not one range."""
    ends = [float(attribute(node, "min", -np.inf)), float(attribute(node, "max", np.inf))]
    slots = {"Clip": (0, 1), "Min": (1,), "Max": (0,)}[node.op]
    for place, slot in enumerate(slots, start=1):
        if not present(node, place):
            continue
        found = value(node.inputs[place])
        if found is None or found.size != 1:
            return None
        ends[slot] = float(found.reshape(()))
    return (ends[0], ends[1]) if len(node.inputs) <= 1 + len(slots) else None


def _around(inner: gs.Tensor, outer: gs.Tensor) -> gs.Tensor:
    """Behind ``outer + (inner − outer)``, which estimators of gradients leave: that sum."""
    users = consumers(inner)
    if len(users) != 1 or users[0][0].op != "Sub" or users[0][1] != 0:
        return inner
    difference = users[0][0]
    behind = consumers(difference.outputs[0])
    if difference.inputs[1] is not outer or len(behind) != 1 or behind[0][0].op != "Add":
        return inner
    add, index = behind[0]
    return add.outputs[0] if add.inputs[1 - index] is outer else inner


def _straight_through(found: Chain) -> Chain:
    return replace(found, result=_around(found.result, found.source))
