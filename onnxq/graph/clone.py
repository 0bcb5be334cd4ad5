"""Independent copies of a graph that share the values of constants."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import onnx_graphsurgeon as gs

from onnxq.graph.carried import Carried
from onnxq.graph.nodes import Node, set_uid, uid


def clone(graph: gs.Graph, carried: Carried, known_names: set[str]) -> tuple[gs.Graph, Carried]:
    """A copy of *graph* and of what is carried beside it; ids stay the same."""
    copier = _Copier(known_names)
    result, beside = copier.graph(graph), carried.copy()
    for kept in beside.graphs.values():
        kept.unused = {k: copier.tensor(c) for k, c in kept.unused.items()}
    return result, beside


class _Copier:
    def __init__(self, known_names: set[str]) -> None:
        self.known_names = known_names
        self.done: dict[int, gs.Tensor] = {}

    def graph(self, graph: gs.Graph) -> gs.Graph:
        inputs = self.tensors(graph.inputs)
        nodes = [self.node(node) for node in graph.nodes]
        new = gs.Graph(
            nodes, inputs, self.tensors(graph.outputs), graph.name, graph.doc_string, graph.opset,
            copy.copy(graph.import_domains), graph.producer_name, graph.producer_version,
            list(graph.functions), graph.ir_version,
        )  # fmt: skip
        set_uid(new, uid(graph))
        return new

    def node(self, node: gs.Node) -> Node:
        attrs = {name: self.value(value) for name, value in node.attrs.items()}
        new = Node(node.op, node.name, attrs, self.tensors(node.inputs),
                   self.tensors(node.outputs), node.domain, self.known_names)  # fmt: skip
        set_uid(new, uid(node))
        return new

    def value(self, value: Any) -> Any:
        if isinstance(value, gs.Graph):
            return self.graph(value)
        if isinstance(value, gs.Tensor):
            return self.tensor(value)
        return [self.value(v) for v in value] if isinstance(value, list) else value

    def tensors(self, tensors: Iterable[gs.Tensor]) -> list[gs.Tensor]:
        return [self.tensor(t) for t in tensors]

    def tensor(self, tensor: gs.Tensor) -> gs.Tensor:
        done = self.done.get(id(tensor))
        if done is not None:
            return done
        if isinstance(tensor, gs.Constant):
            new = gs.Constant(tensor.name, tensor._values, tensor.data_location)
            new._export_dtype = tensor._export_dtype
        else:
            shape = list(tensor.shape) if tensor.shape is not None else None
            new = gs.Variable(tensor.name, tensor.dtype, shape, tensor.type)
        set_uid(new, uid(tensor))
        self.done[id(tensor)] = new
        return new
