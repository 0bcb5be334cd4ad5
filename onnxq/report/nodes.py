"""The nodes of a model's message by the tensors that they read and write."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import NodeProto

from onnxq.graph.bodies import subgraphs


class Graph:
    """A model's main graph by tensor name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        versions = (o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.opset = max(versions, default=1)
        self.nodes = list(graph.node)
        self.producer = {name: n for n in self.nodes for name in n.output if name}
        self._place = {id(n): i for i, n in enumerate(self.nodes)}
        self._reads = [reads(n) for n in self.nodes]
        self.users: dict[str, list[NodeProto]] = {}
        for node, names in zip(self.nodes, self._reads, strict=True):
            for name in set(names):
                self.users.setdefault(name, []).append(node)
        self.initializers = {t.name: t for t in graph.initializer}
        self.inputs = {i.name for i in graph.input} - self.initializers.keys()
        self.outputs = {o.name for o in graph.output}
        self._constant: dict[str, bool] = {}

    def constant(self, name: str) -> bool:
        """Whether no input of the model reaches the tensor *name*."""
        if name not in self._constant:
            node = self.producer.get(name)
            if node is None:
                self._constant[name] = name in self.initializers
            else:
                self._constant[name] = False  # inputs come first: no cycle
                self._constant[name] = all(self.constant(i) for i in self.reads(node))
        return self._constant[name]

    def reads(self, node: NodeProto) -> list[str]:
        """Names of the tensors that *node*, one of ``nodes``, reads."""
        return self._reads[self._place[id(node)]]

    def in_order(self, nodes: Iterable[NodeProto]) -> list[NodeProto]:
        """*nodes*, which are among ``nodes``, in their order there."""
        return sorted(nodes, key=lambda n: self._place[id(n)])

    def behind(self, *names: str) -> list[NodeProto]:
        """The nodes that compute the tensors *names*, in order."""
        found: dict[str, NodeProto] = {}
        waiting = list(names)
        while waiting:
            node = self.producer.get(waiting.pop())
            if node is not None and node.output[0] not in found:
                found[node.output[0]] = node
                waiting += self.reads(node)
        return self.in_order(found.values())


def reads(node: NodeProto) -> list[str]:
    """Names of the tensors that *node* reads, sub-graphs included."""
    found = [name for name in node.input if name]
    for graph in subgraphs(node):
        own = {i.name for i in (*graph.input, *graph.initializer)}
        for inner in graph.node:
            found += [name for name in reads(inner) if name not in own]
            own.update(inner.output)
    return found
