"""Operators that only move codes: the accumulator is the input, and so is its scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute, constant_value
from onnxq.integer.kinds import Kind, Pad, Reshape, Take, Transpose
from onnxq.integer.pending import Pending
from onnxq.integer.program import Value
from onnxq.integer.refuse import refused
from onnxq.integer.resize import resize_indices
from onnxq.integer.sources import Sources

Operator = Callable[[Sources, gs.Node], list[Pending]]


def reshape(at: Sources, node: gs.Node) -> list[Pending]:
    """Flatten, Reshape, Squeeze and Unsqueeze within a frame."""
    x = at.value(node.inputs[0], node)
    frame = np.empty(x.shape, bool)
    shape: tuple[int, ...]
    try:
        if node.op == "Flatten":
            axis = int(attribute(node, "axis", 1))
            shape = (int(np.prod(x.shape[:axis])), -1)
        elif node.op == "Reshape":
            wanted = [int(d) for d in _required(node, 1, "shape")]
            zero = not attribute(node, "allowzero", 0)
            shape = tuple(x.shape[i] if d == 0 and zero else d for i, d in enumerate(wanted))
        else:
            axes = tuple(int(a) for a in _required(node, 1, "axes"))
            made = np.squeeze(frame, axes) if node.op == "Squeeze" else np.expand_dims(frame, axes)
            shape = made.shape
        result = frame.reshape(shape).shape
    except (ValueError, IndexError) as error:
        raise refused(node, f"it does not fit one frame: {error}",
                      "a model whose first dimension is free") from error  # fmt: skip
    if not result or result[0] != 1:
        raise refused(node, f"it makes {list(result)} of one frame {list(x.shape)}",
                      "keep the frames in the first axis")  # fmt: skip
    return [_move(node, x, Reshape(), result)]


def transpose(at: Sources, node: gs.Node) -> list[Pending]:
    """Axes in another order, the frames first."""
    x = at.value(node.inputs[0], node)
    order = tuple(int(p) for p in attribute(node, "perm", range(len(x.shape))[::-1]))
    if order[0] != 0:
        raise refused(node, f"it moves the frames: perm {list(order)}",
                      "keep the frames in the first axis")  # fmt: skip
    return [_move(node, x, Transpose(order), tuple(x.shape[p] for p in order))]


def pad(at: Sources, node: gs.Node) -> list[Pending]:
    """A constant around the input; other modes repeat its elements."""
    x, rank = at.value(node.inputs[0], node), len(at.value(node.inputs[0], node).shape)
    given = [int(p) for p in _required(node, 1, "pads")]
    axes = [int(a) % rank for a in _optional(node, 3, range(rank))]
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = given[i], given[i + len(axes)]
    if before[0] or after[0] or min(before + after) < 0:
        raise refused(node, "it pads frames or cuts", "Slice, to cut")
    mode = attribute(node, "mode", "constant")
    shape = tuple(b + d + a for b, d, a in zip(before, x.shape, after, strict=True))
    if mode != "constant":
        around = list(zip(before, after, strict=True))[1:]
        return [_take(node, x, [np.pad(np.arange(d), p, mode=mode)
                                for d, p in zip(x.shape[1:], around, strict=True)])]  # fmt: skip
    fill = _optional(node, 2, [0.0])
    tensor = node.inputs[2] if len(node.inputs) > 2 else None
    if tensor is not None and tensor.name in at.weights:
        known = at.weights[tensor.name]
        fill = known.codes * known.scales[0]
    code = float(np.asarray(fill).reshape(-1)[0]) / x.scale + x.zero_point
    limits = np.iinfo(x.dtype)
    if code != round(code) or not limits.min <= code <= limits.max:
        raise refused(node, f"it pads with {code} steps of its input's scale",
                      "pad with 0")  # fmt: skip
    return [_move(node, x, Pad(tuple(before[1:]), tuple(after[1:]), int(code)), shape)]


def resize(at: Sources, node: gs.Node) -> list[Pending]:
    """Nearest neighbours."""
    x = at.value(node.inputs[0], node)
    return [_take(node, x, resize_indices(node, x.shape))]


def cut(at: Sources, node: gs.Node) -> list[Pending]:
    """Slice with constant bounds."""
    x = at.value(node.inputs[0], node)
    starts, ends = (_required(node, i, key) for i, key in ((1, "starts"), (2, "ends")))
    axes, steps = _optional(node, 3, range(len(starts))), _optional(node, 4, [1] * len(starts))
    indices = [np.arange(d) for d in x.shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = indices[int(axis)].size
        last = None if step < 0 and end < -size else int(end)
        indices[int(axis)] = np.arange(size)[int(start) : last : int(step)]
    if indices[0].size != 1:
        raise refused(node, "it cuts frames", "keep the frames in the first axis")
    return [_take(node, x, indices[1:])]


def split(at: Sources, node: gs.Node) -> list[Pending]:
    """One Slice for each output."""
    x = at.value(node.inputs[0], node)
    axis, count = int(attribute(node, "axis", 0)) % len(x.shape), len(node.outputs)
    each = -(-x.shape[axis] // count)
    even = [min(each, x.shape[axis] - i * each) for i in range(count)]
    sizes = [int(s) for s in _optional(node, 1, even)]
    if axis == 0:
        raise refused(node, "it cuts frames", "keep the frames in the first axis")
    found, start = [], 0
    for size in sizes:
        indices = [np.arange(d) for d in x.shape[1:]]
        indices[axis - 1] = np.arange(start, start + size)
        start += size
        found.append(_take(node, x, indices))
    return found


def _move(node: gs.Node, x: Value, kind: Kind, shape: tuple[int, ...]) -> Pending:
    return Pending(node, kind, (x.name,), (x.scale,), shape)


def _take(node: gs.Node, x: Value, indices: Sequence[NDArray[np.int64]]) -> Pending:
    shape = (1, *(len(i) for i in indices))
    if 0 in shape:
        raise refused(node, "nothing is left of its input", "check the model")
    return _move(node, x, Take(tuple(np.asarray(i, np.int64) for i in indices)), shape)


def _required(node: gs.Node, index: int, key: str) -> list[int]:
    given = attribute(node, key)
    found = _optional(node, index, given)
    if found is None:
        raise refused(node, f"its '{key}' is computed while the model runs, or absent",
                      "give the model's input a fixed shape and run 'fold-constants'")  # fmt: skip
    return [int(v) for v in np.asarray(found).reshape(-1)]


def _optional(node: gs.Node, index: int, default: Any) -> Any:
    if len(node.inputs) <= index or not node.inputs[index].name:
        return default
    found = constant_value(node.inputs[index])
    return default if found is None else found.reshape(-1)


LOWERED: dict[str, Operator] = {
    "Flatten": reshape, "Reshape": reshape, "Squeeze": reshape, "Unsqueeze": reshape,
    "Transpose": transpose, "Pad": pad, "Resize": resize, "Slice": cut, "Split": split,
}  # fmt: skip
