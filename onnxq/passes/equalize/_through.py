"""How operators hand variables on: the algebra of ``f(a · y) = a · f(y)``, a > 0, by operator.

Each rule gets a node and the variables of its inputs (see ``Channels``), and returns those of its
outputs, or None where factors do not pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import attribute, constant_value, is_constant, producer
from onnxq.passes._scope import present
from onnxq.passes.equalize._reshape import Ids, reshaped

if TYPE_CHECKING:
    from onnxq.passes.equalize._channels import Channels

Inputs = list[Ids | None]
Rule = Callable[["Channels", gs.Node, Inputs], list[Ids] | None]


def along(ids: Ids, axis: int) -> Ids | None:
    """The variables [channels] of a tensor whose channels are on *axis* alone."""
    return ids.reshape(-1) if ids.ndim > 1 and ids.size == ids.shape[axis] else None


def same(walk: Channels, node: gs.Node, ids: Ids) -> list[Ids] | None:
    """*ids* for the output of *node*, where its shape allows it."""
    shape = walk.ctx.shape(node.outputs[0])
    if shape is None or len(shape) < max(ids.ndim, 2):
        return None
    ids = ids.reshape([1] * (len(shape) - ids.ndim) + list(ids.shape))
    fits = all(n in (1, length) for n, length in zip(ids.shape, shape, strict=True))
    return [ids] if fits else None


def _elementwise(walk: Channels, node: gs.Node, inputs: Inputs) -> list[Ids] | None:
    if inputs[0] is None or len(node.outputs) != 1:
        return None
    if node.op == "PRelu" and not is_constant(node.inputs[1]):
        return None
    found = same(walk, node, inputs[0])
    return walk.behind(node, found) if node.op == "Relu" else found


def _spatial(walk: Channels, node: gs.Node, inputs: Inputs) -> list[Ids] | None:
    """Pooling and resizing of the axes behind the channels."""
    ids = inputs[0]
    if ids is None or along(ids, 1) is None or len(node.outputs) != 1:
        return None
    if node.op == "Resize" and (
        attribute(node, "mode", "nearest") not in ("nearest", "linear")
        or float(attribute(node, "extrapolation_value", 0.0)) != 0.0
    ):
        return None
    return same(walk, node, ids)


def _pad(walk: Channels, node: gs.Node, inputs: Inputs) -> list[Ids] | None:
    """Zeros can be scaled by anything: channels of zeros are variables of their own."""
    ids = inputs[0]
    if ids is None or (present(node, 2) and not _is_zero(node.inputs[2])):
        return None
    pads = constant_value(node.inputs[1]) if present(node, 1) else None
    if pads is None or present(node, 3) or len(pads) != 2 * ids.ndim:
        return same(walk, node, ids)
    begin, end = np.split(pads.astype(np.int64), 2)
    for axis in np.flatnonzero((begin != 0) | (end != 0)).tolist():
        if ids.shape[axis] == 1:
            continue
        if attribute(node, "mode", "constant") != "constant" or along(ids, axis) is None:
            return None
        if min(begin[axis], end[axis]) < 0:
            return None
        shape = [-1 if i == axis else 1 for i in range(ids.ndim)]
        more = [walk.new(int(n)).reshape(shape) for n in (begin[axis], end[axis])]
        ids = np.concatenate([more[0], ids, more[1]], axis=axis)
    return same(walk, node, ids)


def _slice(walk: Channels, node: gs.Node, inputs: Inputs) -> list[Ids] | None:
    ids = inputs[0]
    values = [constant_value(t) if t.name else None for t in node.inputs[1:5]]
    if ids is None or len(values) < 2 or values[0] is None or values[1] is None:
        return None
    starts, ends = values[0].tolist(), values[1].tolist()
    axes = list(range(len(starts))) if not present(node, 3) else values[2]
    steps = [1] * len(starts) if not present(node, 4) else values[3]
    if axes is None or steps is None:
        return None
    for start, end, axis, step in zip(starts, ends, list(axes), list(steps), strict=True):
        if ids.shape[int(axis)] > 1:
            if step < 0:
                return None
            place = [slice(None)] * ids.ndim
            place[int(axis)] = slice(start, end, int(step))
            ids = ids[tuple(place)]
    return same(walk, node, ids)


def _concat(walk: Channels, node: gs.Node, inputs: Inputs) -> list[Ids] | None:
    """Channels side by side; those that nothing scales are frozen."""
    axis, parts = _axis(walk, node), []
    if axis is None:
        return None
    for tensor, ids in zip(node.inputs, inputs, strict=True):
        shape = walk.ctx.shape(tensor)
        length = None if shape is None or len(shape) < 2 else shape[axis]
        if shape is None or length is None or (ids is not None and along(ids, axis) is None):
            return None
        own = walk.new(length) if ids is None else ids
        if ids is None:
            walk.stop(own, f"'{tensor.name}' has no layer in front of it that scales")
        parts.append(own.reshape([-1 if i == axis else 1 for i in range(len(shape))]))
    return [np.concatenate(parts, axis=axis)]


def _split(walk: Channels, node: gs.Node, inputs: Inputs) -> list[Ids] | None:
    ids, axis = inputs[0], _axis(walk, node)
    if ids is None or axis is None:
        return None
    if ids.shape[axis] == 1:
        return [ids] * len(node.outputs)
    lengths = []
    for tensor in node.outputs:
        shape = walk.ctx.shape(tensor)
        length = None if shape is None or len(shape) != ids.ndim else shape[axis]
        if length is None:
            return None
        lengths.append(length)
    if sum(lengths) != ids.shape[axis]:
        return None
    return np.split(ids, np.cumsum(lengths)[:-1].tolist(), axis)


def _axis(walk: Channels, node: gs.Node) -> int | None:
    axis = int(attribute(node, "axis", 0))
    rank = walk.ctx.rank(node.inputs[0])
    return None if rank is None else axis % rank


def _add(walk: Channels, node: gs.Node, inputs: Inputs) -> list[Ids] | None:
    """Summands share a factor; a stored one is scaled with the other."""
    one, two = inputs
    if one is not None and two is not None:
        found = same(walk, node, one) if one.ndim == two.ndim else None
        if found is not None:
            walk.link(one, two)
            walk.round(node.outputs[0], one)
        return found
    index = 0 if one is None else 1
    ids, value = inputs[1 - index], constant_value(node.inputs[index])
    if ids is None or value is None or value.dtype != np.float32:
        return None
    found = same(walk, node, ids)
    if found is not None:
        walk.added.append((node, index, found[0]))
        walk.behind(node, found, 1 - index)
    return found


def _multiply(walk: Channels, node: gs.Node, inputs: Inputs) -> list[Ids] | None:
    """A product with anything else, which keeps its own size: a constant, a gate."""
    carried = [ids for ids in inputs if ids is not None and not walk.is_frozen(ids)]
    if len(carried) != 1 or (node.op == "Div" and inputs[0] is not carried[0]):
        return None
    if node.op == "Div" and not is_constant(node.inputs[1]):
        return None
    return same(walk, node, carried[0])


def _matmul(walk: Channels, node: gs.Node, inputs: Inputs) -> list[Ids] | None:
    """Products of attention: rows of V are added up, channels of Q and K meet in pairs."""
    one, two = inputs
    if one is not None and walk.is_frozen(one):
        one = None
    if two is None or two.shape[-2] != 1:
        if one is None or two is None or one.ndim != two.ndim or one.shape[-2] != 1:
            return None
        keys = two.swapaxes(-1, -2)
        if keys.shape != one.shape:
            return None
        walk.pair(node, one, keys)
        return []
    return same(walk, node, two) if one is None else None


def _transpose(walk: Channels, node: gs.Node, inputs: Inputs) -> list[Ids] | None:
    if inputs[0] is None:
        return None
    turned = [int(i) for i in attribute(node, "perm", None) or range(inputs[0].ndim)[::-1]]
    return same(walk, node, inputs[0].transpose(turned))


def _reshape(walk: Channels, node: gs.Node, inputs: Inputs) -> list[Ids] | None:
    before, after = _lengths(walk, node.inputs[0]), _lengths(walk, node.outputs[0])
    if inputs[0] is None or not before or not after or np.prod(before) != np.prod(after):
        return None
    fixed = [True] * len(after)
    if node.op == "Reshape":
        stated = _stated(node.inputs[1])
        if stated is None or len(stated) != len(after):
            return None
        rest = all(n in (-1, 0, 1, None) for n in stated)
        fixed = [n is not None and (n >= 0 or rest) for n in stated]
    found = reshaped(inputs[0], before, after, fixed)
    return None if found is None else same(walk, node, found)


def _lengths(walk: Channels, tensor: gs.Tensor) -> tuple[int, ...]:
    """The shape of *tensor* where it is known but for the batch, else empty."""
    shape = walk.ctx.shape(tensor) or ()
    known = tuple(1 if n is None and i == 0 else n for i, n in enumerate(shape))
    return tuple(n for n in known if n is not None) if None not in known else ()


def _stated(tensor: gs.Tensor) -> list[int | None] | None:
    """The entries of a shape that is stored, or joined of stored and computed lengths (None)."""
    value = constant_value(tensor)
    if value is not None:
        return [int(n) for n in value]
    join = producer(tensor)
    if join is None or join.op != "Concat":
        return None
    found: list[int | None] = []
    for part in join.inputs:
        stored = constant_value(part)
        found += [None] if stored is None else [int(n) for n in stored]
    return found


def _is_zero(tensor: gs.Tensor) -> bool:
    value = constant_value(tensor)
    return value is not None and not value.any()


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "PRelu", "Identity", "Dropout", "Neg", "Abs"), _elementwise
    ),
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Upsample"),
        _spatial,
    ),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Add", "Sub"), _add),
    **dict.fromkeys(("Mul", "Div"), _multiply),
    "Pad": _pad, "Slice": _slice, "Concat": _concat, "Split": _split,
    "Transpose": _transpose, "MatMul": _matmul,
}  # fmt: skip
