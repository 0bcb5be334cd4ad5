"""The pass ``fuse-activation-clip``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, constant_value, replace_input
from onnxq.passes._scope import Scope, is_standard
from onnxq.passes.fuse._activation import OPS, Interval, bounds, joined, operand
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class FuseActivationClip(Pass):
    """Write every limiting activation as one Relu or one Clip.

    What it does:
        Relu, Clip, Max and Min with one number all compute ``min(max(x, low), high)``. Two in a
        row are one, whose ends are those of the first, limited to the second::

            clip₂(clip₁(x)) = min(max(x, low), high),   low = clip₂(low₁),   high = clip₂(high₁)

        From 0 up without a high end it is a Relu, without any end it is nothing, and otherwise
        it is a Clip.

    Why:
        A quantized range that ends where a Relu or Clip ends makes it redundant; later passes
        look for these two operators only. ReLU6 is exported in half a dozen ways.

    Example:
        ``Min(Relu(x), 6)``  becomes  ``Clip(x, 0, 6)``;  ``Max(x, 0)``  becomes  ``Relu(x)``.

    When it declines:
        Two in a row, and the tensor between is read elsewhere, is an output of the graph, or is
        computed outside of this sub-graph; a Min or Max whose number may widen the tensor; a
        bound that is computed; a Clip whose low end is above its high one.

    Numerics:
        Exact.

    Source:
        ONNX operator specifications; Howard et al., MobileNets (2017), for ReLU6.
    """

    name: ClassVar[str] = "fuse-activation-clip"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Join pairs from the last to the first, then write each in its plainest form."""
        scope = Scope(model)
        for node in scope.sites(*OPS):
            reason = _rewrite(scope, node, ctx)
            if reason:
                ctx.decline(node, reason)


def _rewrite(scope: Scope, node: gs.Node, ctx: Context) -> str:
    found = _usable(node, ctx)
    if found is None or isinstance(found, str):
        return found or ""
    reason, kind = "", _kind(node)
    above = scope.above(node, operand(node))
    if above is not None and is_standard(above):
        first = _usable(above, ctx)
        if isinstance(first, tuple):
            between = node.inputs[operand(node)]
            others = scope.others(between, node)
            if others:
                reason = f"'{between.name}' between '{above.name}' and it is {others}"
            else:
                found = joined(first, found)
                kind = kind or _kind(above)
                replace_input(node, operand(node), above.inputs[operand(above)])
                scope.remove(above)
    if found == (-math.inf, math.inf):
        return scope.bypass(node, operand(node))
    _write(scope, node, found, kind)
    return reason


def _kind(node: gs.Node) -> np.dtype[Any] | None:
    """The type of the numbers that *node* holds, None where it holds none."""
    return next((t.dtype for t in node.inputs if isinstance(t, gs.Constant)), None)


def _usable(node: gs.Node, ctx: Context) -> Interval | str | None:
    """The interval of *node*; why there is none; None where it is no candidate."""
    if node.op not in OPS:
        return None
    found = bounds(node)
    if found is None:
        values = [constant_value(t) for t in node.inputs[1:]]
        if node.op != "Clip" or any(v is not None and v.dtype.kind != "f" for v in values):
            return None
        return "a bound of it is computed or infinite, or its low end is above its high one"
    if node.op in {"Min", "Max"}:
        index = operand(node)
        number, rank = node.inputs[1 - index], ctx.rank(node.inputs[index])
        if len(number.shape) > (rank or 0):
            return f"its number '{number.name}' may widen '{node.inputs[index].name}'"
    return found


def _write(scope: Scope, node: gs.Node, ends: Interval, kind: np.dtype[Any] | None) -> None:
    """Make *node* a Relu or a Clip of the interval *ends*."""
    wanted = "Relu" if ends == (0.0, math.inf) else "Clip"
    if node.op == wanted and ends == bounds(node):
        return
    x = node.inputs[operand(node)]
    node.inputs.clear()
    node.attrs.clear()
    node.inputs.append(x)
    node.op = wanted
    if wanted == "Relu":
        return
    for index, (name, end) in enumerate((("min", ends[0]), ("max", ends[1])), 1):
        if math.isinf(end):
            continue
        if scope.model.opset < 11:
            node.attrs[name] = end
            continue
        base = scope.model.unique_name(f"{node.outputs[0].name}__{name}")
        replace_input(node, index, gs.Constant(base, np.asarray(end, dtype=kind)))
