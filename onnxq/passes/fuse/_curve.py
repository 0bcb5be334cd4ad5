"""Recognises a function of one variable by its values, however it is written.

Exporters write Gelu or HardSwish in many forms that differ in the order and the grouping of the
same factors. Instead of listing forms, the nodes between an input and an output are evaluated on a
grid of numbers and compared with the function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute, constant_value, consumers, producer
from onnxq.passes._scope import Scope, is_standard
from onnxq.passes.fuse._activation import bounds, operand
from onnxq.pipeline import Context
from onnxq.pipeline.groups import Group

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]

_GRID: Floats = np.linspace(-6.0, 6.0, 97)
_TOLERANCE = 2e-3  # the two usual forms of Gelu differ by 5e-4, float16 constants by as much
_UP, _DOWN, _MOST = 6, 6, 16
erf: Curve = np.vectorize(math.erf, otypes=[np.float64])


class _OtherError(Exception):
    """The tensor is not a function of the chosen input by known operators."""


def sigmoid(x: Floats) -> Floats:
    """``1 / (1 + e^−x)``."""
    return np.asarray(1 / (1 + np.exp(-x)))


def _limited(node: gs.Node, *values: Floats) -> Floats:
    found = bounds(node)
    if found is None:
        raise _OtherError
    return np.clip(values[operand(node) if node.op in {"Min", "Max"} else 0], *found)


_OPS: Mapping[str, Callable[..., Floats]] = {
    "Add": lambda n, a, b: a + b, "Sub": lambda n, a, b: a - b, "Mul": lambda n, a, b: a * b,
    "Div": lambda n, a, b: a / b, "Pow": lambda n, a, b: a**b, "Neg": lambda n, a: -a,
    "Erf": lambda n, a: erf(a), "Tanh": lambda n, a: np.tanh(a), "Exp": lambda n, a: np.exp(a),
    "Sigmoid": lambda n, a: sigmoid(a), "Reciprocal": lambda n, a: 1 / a,
    "HardSigmoid": lambda n, a: np.clip(
        attribute(n, "alpha", 0.2) * a + attribute(n, "beta", 0.5), 0, 1
    ),
    "Clip": _limited, "Relu": _limited, "Min": _limited, "Max": _limited,
}  # fmt: skip


def recognise(
    scope: Scope, ctx: Context, kind: str, anchors: tuple[str, ...], curves: tuple[Curve, ...]
) -> None:
    """Record a group of *kind* for each set of nodes around an anchor that computes a curve.

    Args:
        scope: the model.
        ctx: receives the groups, and a decline where a tensor inside of one is read outside.
        kind: what to call the group.
        anchors: operators one of which every form has.
        curves: what the group may compute.
    """
    taken = {name for g in ctx.groups for name in g.nodes}
    for anchor in scope.sites(*anchors):
        if anchor.name in taken:
            continue
        for x, cone in _candidates(scope, anchor, curves):
            outside = leak(scope, cone)
            if outside:
                ctx.decline(anchor, f"it is part of a {kind}, but {outside}")
                break
            names = tuple(n.name for n in cone)
            ctx.groups.append(Group(kind, names, x.name, cone[-1].outputs[0].name))
            taken.update(names)
            break


def _candidates(
    scope: Scope, anchor: gs.Node, curves: tuple[Curve, ...]
) -> Iterator[tuple[gs.Tensor, list[gs.Node]]]:
    """Inputs and the nodes from there on, in order, that compute a curve; nearest output first."""
    for result in _down(scope, anchor):
        for x in _up(scope, anchor):
            cone: dict[int, tuple[gs.Node, Floats]] = {}
            try:
                with np.errstate(all="ignore"):
                    y = _evaluate(scope, anchor, result, x, cone)
            except _OtherError:
                continue
            if id(anchor) not in cone or y.shape != _GRID.shape:
                continue
            if any(np.allclose(y, curve(_GRID), rtol=0, atol=_TOLERANCE) for curve in curves):
                yield x, [node for node, _ in cone.values()]


def _down(scope: Scope, anchor: gs.Node) -> list[gs.Tensor]:
    """Tensors that depend on *anchor* by known operators of its graph, nearest first."""
    found: dict[int, gs.Tensor] = {}
    edge = [anchor.outputs[0]]
    for _ in range(_DOWN):
        readers = [n for t in edge for n, _ in consumers(t) if n.op in _OPS and is_standard(n)]
        readers = [n for n in readers if scope.graph(n) is scope.graph(anchor)]
        edge = [n.outputs[0] for n in readers if id(n.outputs[0]) not in found][:_MOST]
        found.update((id(t), t) for t in edge)
    return list(found.values())


def _up(scope: Scope, anchor: gs.Node) -> list[gs.Tensor]:
    """Tensors that *anchor* depends on, nearest first."""
    found: dict[int, gs.Tensor] = {}
    edge = [anchor]
    for _ in range(_UP):
        tensors = [t for n in edge for t in n.inputs if not isinstance(t, gs.Constant)]
        fresh = [t for t in tensors if t.name and id(t) not in found]
        found.update((id(t), t) for t in fresh)
        above = [producer(t) for t in fresh]
        edge = [n for n in above if n is not None and n.op in _OPS and is_standard(n)]
    return list(found.values())


def _evaluate(
    scope: Scope,
    anchor: gs.Node,
    tensor: gs.Tensor,
    x: gs.Tensor,
    cone: dict[int, tuple[gs.Node, Floats]],
) -> Floats:
    if tensor is x:
        return _GRID
    value = constant_value(tensor)
    if value is not None:
        if value.size != 1 or value.dtype.kind not in "fi":
            raise _OtherError
        return np.asarray(value.reshape(()), dtype=np.float64)
    node = producer(tensor)
    if node is None or node.op not in _OPS or not is_standard(node) or len(cone) > _MOST:
        raise _OtherError
    if scope.graph(node) is not scope.graph(anchor):
        raise _OtherError
    if id(node) not in cone:
        inputs = [_evaluate(scope, anchor, t, x, cone) for t in node.inputs if t.name]
        cone[id(node)] = (node, np.asarray(_OPS[node.op](node, *inputs)))
    return cone[id(node)][1]


def leak(scope: Scope, cone: list[gs.Node]) -> str:
    """Which tensor between the nodes is visible outside; empty where none is."""
    inside = {id(n) for n in cone}
    for node in cone[:-1]:
        for tensor in node.outputs:
            if scope.is_output(tensor):
                return f"'{tensor.name}' inside of it is an output of the graph"
            for reader, _ in consumers(tensor):
                if id(reader) not in inside:
                    return f"'{tensor.name}' inside of it is read by '{reader.name}' too"
    return ""
