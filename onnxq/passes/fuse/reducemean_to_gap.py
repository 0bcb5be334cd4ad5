"""The pass ``reducemean-to-gap``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute, constant_value, consumers
from onnxq.passes._scope import Scope, present
from onnxq.passes._types import element_type
from onnxq.pipeline import Context, Pass, Stage

_FLOATS = frozenset({1, 10, 11, 16})  # float, float16, double, bfloat16


@dataclass(frozen=True, kw_only=True)
class ReduceMeanToGap(Pass):
    """Write the mean over all positions as GlobalAveragePool.

    What it does:
        A ReduceMean over every axis behind batch and channels is a GlobalAveragePool; where it
        drops these axes (``keepdims = 0``) a Flatten follows::

            ReduceMean(x; axes = 2…r−1)  =  GlobalAveragePool(x)          r: rank of x, at least 4

    Why:
        Runtimes have an integer kernel for GlobalAveragePool and mostly none for ReduceMean.

    Example:
        ``ReduceMean<axes = [2,3], keepdims = 1>(x)``  becomes  ``GlobalAveragePool(x)``.

    When it declines:
        The rank is not known; the axes are computed; the mean belongs to a normalization (it is
        of squares, or is subtracted from what it is the mean of), which is better kept whole.
        Means over other axes are no candidates, and neither are tensors of rank 3, whose last
        axis is more often features than positions.

    Numerics:
        The same mean; the order of the sum is up to the kernel.

    Source:
        ONNX operator specifications, ReduceMean and GlobalAveragePool.
    """

    name: ClassVar[str] = "reducemean-to-gap"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 1e-5

    def run(self, model: Model, ctx: Context) -> None:
        """Replace every ReduceMean over all positions."""
        scope = Scope(model)
        for node in scope.sites("ReduceMean"):
            reason = _rewrite(scope, node, ctx)
            if reason:
                ctx.decline(node, reason)


def _rewrite(scope: Scope, node: gs.Node, ctx: Context) -> str:
    x, axes = node.inputs[0], attribute(node, "axes")
    if present(node, 1):
        stored = constant_value(node.inputs[1])
        if stored is None:
            return "its axes are computed; try 'fold-constants' first"
        axes = stored.tolist()
    if axes is None or len(axes) == 0:
        return ""  # over everything, or (noop_with_empty_axes) nothing
    rank = ctx.rank(x)
    if rank is None:
        return f"the rank of '{x.name}' is not known; try calibration data, which shows it"
    if rank < 4 or sorted(a % rank for a in axes) != list(range(2, rank)):
        return ""
    if element_type(x, ctx) not in {None, *_FLOATS}:
        return ""
    if _normalizes(scope, node):
        return "it is the mean or the variance of a normalization, which stays whole"
    keeps = attribute(node, "keepdims", 1)
    node.op = "GlobalAveragePool"
    node.attrs.clear()
    while len(node.inputs) > 1:
        del node.inputs[-1]
    if not keeps:
        result = node.outputs[0]
        shape = None if result.shape is None else [*result.shape, *[1] * (rank - 2)]
        pooled = gs.Variable(scope.model.unique_name(f"{result.name}__pooled"), result.dtype, shape)
        node.outputs[0] = pooled
        name = scope.model.unique_name(f"{node.name or node.op}__flatten")
        scope.insert(node, "Flatten", [pooled], [result], {"axis": 1}, name=name)
    return ""


def _normalizes(scope: Scope, node: gs.Node) -> bool:
    """Whether *node* is the mean of squares, or is subtracted from its own input."""
    x, above = node.inputs[0], scope.above(node)
    if above is not None and above.op == "Pow":
        return True
    if above is not None and above.op == "Mul" and above.inputs[0] is above.inputs[1]:
        return True
    readers = [user for user, _ in consumers(node.outputs[0])]
    return any(user.op == "Sub" and user.inputs[0] is x for user in readers)
