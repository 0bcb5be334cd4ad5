"""Graphs of twins small enough for memory: shapes, division of layers, and what a part needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.report.groups import Group
from onnxq.report.nodes import Graph
from onnxq.report.reductions import Shape
from onnxq.runtime.types import inferred

#: Layers of one graph at most: ONNX Runtime loads a graph in time that grows with its square.
LAYERS = 80
#: Tensors of the size of its result that the twin of one layer holds at a time.
_HELD = 8


def shapes_for(model: onnx.ModelProto, feed: Mapping[str, NDArray[Any]]) -> dict[str, Shape]:
    """Shapes of the tensors of *model* for inputs shaped as in *feed*, where onnx infers them."""
    shaped = onnx.ModelProto()
    shaped.CopyFrom(model)
    del shaped.graph.value_info[:]
    for value in shaped.graph.input:
        if value.name in feed and value.type.WhichOneof("value") == "tensor_type":
            shape = value.type.tensor_type.shape
            shape.Clear()
            for size in np.shape(feed[value.name]):
                shape.dim.add(dim_value=size)
    for value in shaped.graph.output:
        if value.type.WhichOneof("value") == "tensor_type":
            value.type.tensor_type.ClearField("shape")
    found: dict[str, Shape] = {}
    for name, kind in inferred(shaped).items():
        if kind.WhichOneof("value") == "tensor_type" and kind.tensor_type.HasField("shape"):
            dims = kind.tensor_type.shape.dim
            if all(d.HasField("dim_value") for d in dims):
                found[name] = tuple(d.dim_value for d in dims)
    return found


def parts(
    groups: Sequence[Group],
    shapes: Mapping[str, Shape],
    values: Mapping[str, NDArray[Any]],
    model: onnx.ModelProto,
    budget: int,
) -> Iterator[list[Group]]:
    """*groups* in order, divided so that parts stay within *budget* bytes and ``LAYERS``.

    A part takes the float model's constants, those of its groups as floats, the float tensors that
    it reads, and what its largest twin holds at a time. It has one group at least.
    """
    base = sum(t.ByteSize() for t in model.graph.initializer)
    part: list[Group] = []
    total, largest = base, 0
    for group in groups:
        size = 4 * prod(shapes.get(group.result, (0,)))
        own = size + sum(4 * values[name].size for name in group.constants)
        full = len(part) >= LAYERS or total + own + _HELD * max(largest, size) > budget
        if part and full:
            yield part
            part, total, largest = [], base, 0
        part.append(group)
        total, largest = total + own, max(largest, size)
    if part:
        yield part


def trimmed(model: onnx.ModelProto) -> onnx.ModelProto:
    """*model* without the nodes and constants that none of its outputs needs, in place."""
    graph = model.graph
    index = Graph(model)
    kept = index.behind(*(o.name for o in graph.output))
    read = {name for n in kept for name in index.reads(n)}
    if len(kept) < len(graph.node):
        copies = onnx.GraphProto()
        copies.node.extend(kept)
        del graph.node[:]
        graph.node.extend(copies.node)
    unread = [i for i, t in enumerate(graph.initializer) if t.name not in read]
    for i in reversed(unread):
        del graph.initializer[i]
    return model
