"""Which nodes give out one of their inputs unchanged.

Each rule answers with the index of that input, with a reason where the node nearly is a no-op, or
with None where it is no candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import attribute, constant_value
from onnxq.passes._scope import present
from onnxq.passes._types import Stated
from onnxq.pipeline import Context

Answer = int | str | None
Rule = Callable[[gs.Node, Context, Stated], Answer]


def identity(node: gs.Node, ctx: Context, stated: Stated) -> Answer:
    """Identity gives out its input."""
    return 0


def dropout(node: gs.Node, ctx: Context, stated: Stated) -> Answer:
    """Dropout does nothing at inference."""
    if any(t.name and (t.outputs) for t in node.outputs[1:]):
        return "its mask is read"
    if not attribute(node, "is_test", 1):
        return "it is in training mode; try to export the model for inference"
    if present(node, 2):
        training = constant_value(node.inputs[2])
        if training is None:
            return "its training mode is computed; try 'fold-constants' first"
        if np.any(training):
            return "it is in training mode; try to export the model for inference"
    return 0


def cast(node: gs.Node, ctx: Context, stated: Stated) -> Answer:
    """Cast to the type that the input has."""
    return 0 if stated.element_type(node.inputs[0], ctx) == attribute(node, "to") else None


def one_input(node: gs.Node, ctx: Context, stated: Stated) -> Answer:
    """Concat, Sum, Max, Min or Mean of one tensor."""
    return 0 if len(node.inputs) == 1 else None


def neutral(node: gs.Node, ctx: Context, stated: Stated) -> Answer:
    """x·1, 1·x, x/1, x + 0, 0 + x, x − 0, where the constant does not widen the shape."""
    wanted = 1 if node.op in {"Mul", "Div"} else 0
    for i in (1, 0) if node.op in {"Mul", "Add"} else (1,):
        value = constant_value(node.inputs[i])
        if value is None or value.dtype.kind not in "fiu" or not (value == wanted).all():
            continue
        kept = node.inputs[1 - i]
        if value.ndim == 0:
            return 1 - i
        shape = stated.shape(kept)
        if shape is None or value.ndim > len(shape):
            return f"its constant '{node.inputs[i].name}' may widen '{kept.name}'"
        tail = shape[len(shape) - value.ndim :]
        if all(v in {1, d} for v, d in zip(value.shape, tail, strict=True)):
            return 1 - i
        return f"its constant '{node.inputs[i].name}' widens '{kept.name}'"
    return None


def transpose(node: gs.Node, ctx: Context, stated: Stated) -> Answer:
    """Transpose that leaves every axis where it is."""
    perm = attribute(node, "perm")
    return 0 if perm is not None and list(perm) == list(range(len(perm))) else None


def reshape(node: gs.Node, ctx: Context, stated: Stated) -> Answer:
    """Reshape to the shape that the input has, with at most one dimension left open."""
    wanted = constant_value(node.inputs[1]) if present(node, 1) else attribute(node, "shape")
    shape = stated.shape(node.inputs[0])
    if wanted is None or shape is None or len(wanted) != len(shape):
        return None
    copies = 0 if attribute(node, "allowzero", 0) else None
    free = 0
    for want, have in zip(np.asarray(wanted).tolist(), shape, strict=True):
        if want == have or (want == 0 and copies is None):
            continue
        free += 1
        if want != -1 or free > 1:
            return None
    return 0


def flatten(node: gs.Node, ctx: Context, stated: Stated) -> Answer:
    """Flatten of a matrix at axis 1."""
    shape = stated.shape(node.inputs[0])
    return 0 if shape is not None and len(shape) == 2 and attribute(node, "axis", 1) == 1 else None


def pad(node: gs.Node, ctx: Context, stated: Stated) -> Answer:
    """Pad by nothing."""
    pads = constant_value(node.inputs[1]) if present(node, 1) else attribute(node, "pads")
    return 0 if pads is not None and not np.any(pads) else None


def slice_(node: gs.Node, ctx: Context, stated: Stated) -> Answer:
    """Slice from the beginning to the end in steps of one."""
    if len(node.inputs) < 3:
        starts, ends = attribute(node, "starts"), attribute(node, "ends")
        axes, steps = attribute(node, "axes"), None
    else:
        values = [constant_value(t) if t.name else None for t in node.inputs[1:]]
        if any(v is None and t.name for v, t in zip(values, node.inputs[1:], strict=True)):
            return None
        starts, ends, axes, steps = (*values, None, None)[:4]
    if starts is None or ends is None or np.any(np.asarray(starts) != 0):
        return None
    if steps is not None and np.any(np.asarray(steps) != 1):
        return None
    shape = stated.shape(node.inputs[0])
    positions = range(len(ends)) if axes is None else np.asarray(axes).tolist()
    for axis, end in zip(positions, np.asarray(ends).tolist(), strict=True):
        size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
        if end < (2**31 - 1 if size is None else size):
            return None
    return 0


def expand(node: gs.Node, ctx: Context, stated: Stated) -> Answer:
    """Expand to ones, or to dimensions that the input has."""
    wanted, shape = constant_value(node.inputs[1]), stated.shape(node.inputs[0])
    if wanted is None or shape is None or len(wanted) > len(shape):
        return None
    tail = shape[len(shape) - len(wanted) :]
    return 0 if all(w in {1, d} for w, d in zip(wanted.tolist(), tail, strict=True)) else None


RULES: Mapping[str, Rule] = {
    "Identity": identity, "Dropout": dropout, "Cast": cast, "Concat": one_input, "Sum": one_input,
    "Max": one_input, "Min": one_input, "Mean": one_input, "Mul": neutral, "Div": neutral,
    "Add": neutral, "Sub": neutral, "Transpose": transpose, "Reshape": reshape,
    "Flatten": flatten, "Pad": pad, "Slice": slice_, "Expand": expand,
}  # fmt: skip
"""By operator type, the rule that judges it."""
