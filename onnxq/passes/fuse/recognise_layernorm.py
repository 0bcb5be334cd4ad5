"""The pass ``recognise-layernorm``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, constant_value, consumers
from onnxq.passes._scope import Scope, is_standard
from onnxq.passes.fuse._curve import leak
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.groups import Group


@dataclass(frozen=True, kw_only=True)
class RecogniseLayerNorm(Pass):
    """Recognise LayerNorm and RMSNorm in primitive operators.

    What it does:
        Finds nodes which together compute one of::

            rmsnorm(x)   = γ · x / √(mean(x²) + ε)
            layernorm(x) = γ · (x − mean(x)) / √(mean((x − mean(x))²) + ε) + β

        with the square as Pow or Mul, the quotient as Div, or Reciprocal and Mul, and γ and β
        where they are; and records them as a group of kind ``rmsnorm`` or ``layernorm``. The
        graph is not changed.

    Why:
        The square doubles the number of bits that a value needs, so that 8 bits inside of the
        group lose small values altogether; a plan that knows the group keeps it whole.

    Example:
        ``Div(x, Sqrt(Add(ReduceMean(Mul(x, x)), 1e-6)))``.

    When it declines:
        A tensor inside of the group is read outside or is an output of the graph. A square root
        of anything else is no candidate.

    Numerics:
        Nothing is computed.

    Source:
        Ba et al., Layer normalization (2016), section 3; Zhang and Sennrich, Root mean square
        layer normalization (2019), section 4.
    """

    name: ClassVar[str] = "recognise-layernorm"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Record every group."""
        scope = Scope(model)
        for root in scope.sites("Sqrt"):
            found = _match(scope, root)
            if found is None:
                continue
            kind, x, nodes = found
            outside = leak(scope, nodes)
            if outside:
                ctx.decline(root, f"it is part of a {kind}, but {outside}")
            else:
                names = tuple(n.name for n in nodes)
                ctx.groups.append(Group(kind, names, x.name, nodes[-1].outputs[0].name))


def _match(scope: Scope, root: gs.Node) -> tuple[str, gs.Tensor, list[gs.Node]] | None:
    """Kind, input and nodes in order, from the square root on."""
    add = _above(scope, root, 0, "Add")
    mean = next((m for i in (0, 1) if add and (m := _above(scope, add, i, "ReduceMean"))), None)
    square = _above(scope, mean, 0, "Pow", "Mul") if mean else None
    if add is None or mean is None or square is None or not _has_scalar(add):
        return None
    value = square.inputs[0]
    if square.op == "Mul" and square.inputs[1] is not value:
        return None
    if square.op == "Pow" and not _is_number(square.inputs[1], 2):
        return None
    tail = _quotient(scope, root, value)
    if tail is None:
        return None
    head, x, kind = [], value, "rmsnorm"
    centre = _above(scope, square, 0, "Sub")
    average = _above(scope, centre, 1, "ReduceMean") if centre else None
    if centre and average and average.inputs[0] is centre.inputs[0]:
        head, x, kind = [average, centre], centre.inputs[0], "layernorm"
    nodes = [*head, square, mean, add, root, *tail]
    for op in ("Mul", "Add") if kind == "layernorm" else ("Mul",):
        uses = consumers(nodes[-1].outputs[0])
        if len(uses) == 1 and uses[0][0].op == op and _same(scope, uses[0][0], root):
            node, index = uses[0]
            if constant_value(node.inputs[1 - index]) is not None:
                nodes.append(node)
    return kind, x, nodes


def _quotient(scope: Scope, root: gs.Node, value: gs.Tensor) -> list[gs.Node] | None:
    """The nodes that divide *value* by the square root, as Div or as Reciprocal and Mul."""
    for node, index in consumers(root.outputs[0]):
        if not _same(scope, node, root):
            continue
        if node.op == "Div" and index == 1 and node.inputs[0] is value:
            return [node]
        inverse = node.op == "Reciprocal" or (
            node.op == "Div" and index == 1 and _is_number(node.inputs[0], 1)
        )
        if inverse:
            for user, i in consumers(node.outputs[0]):
                if user.op == "Mul" and user.inputs[1 - i] is value and _same(scope, user, root):
                    return [node, user]
    return None


def _above(scope: Scope, node: gs.Node, index: int, *ops: str) -> gs.Node | None:
    found = scope.above(node, index)
    return found if found is not None and found.op in ops and is_standard(found) else None


def _same(scope: Scope, node: gs.Node, other: gs.Node) -> bool:
    return is_standard(node) and scope.graph(node) is scope.graph(other)


def _is_number(tensor: gs.Tensor, number: float) -> bool:
    value = constant_value(tensor)
    return value is not None and value.size == 1 and bool(np.all(value == number))


def _has_scalar(node: gs.Node) -> bool:
    values = [constant_value(t) for t in node.inputs]
    return any(v is not None and v.size == 1 for v in values)
