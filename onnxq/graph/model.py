"""The model that passes work on: an onnx-graphsurgeon graph and what that cannot carry."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import onnx
import onnx_graphsurgeon as gs


class Model:
    """An ONNX model under edit.

    Attributes:
        graph: the main graph, edited in place by passes with the verbs of ``onnxq.graph.edit``.
        path: the file that it was loaded from, None for one that was in memory.
    """

    def __init__(self, graph: gs.Graph, path: Path | None = None) -> None:
        self.graph = graph
        self.path = path
        self.metadata: dict[str, str] = {}

    @classmethod
    def load(cls, source: str | PathLike[str] | onnx.ModelProto) -> Model:
        """Read a model from a file or from memory; external data stays on disk until used."""
        if isinstance(source, onnx.ModelProto):
            return cls(gs.import_onnx(source))
        return cls(gs.import_onnx(onnx.load(source)), Path(source))

    def to_proto(self) -> onnx.ModelProto:
        """The model as a protobuf message."""
        return gs.export_onnx(self.graph)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model atomically."""
        onnx.save(self.to_proto(), path)

    def clone(self) -> Model:
        """An independent copy (constants share their arrays: replace them, never write into)."""
        return Model.load(self.to_proto())

    @property
    def opset(self) -> int:
        """Version of the default operator domain."""
        return int(self.graph.opset)

    def graphs(self) -> Iterator[gs.Graph]:
        """The main graph, then every sub-graph, depth first."""
        yield self.graph
        yield from self.graph.subgraphs(recursive=True)

    def nodes(self) -> Iterator[gs.Node]:
        """Nodes of all graphs, the main graph's first, each graph in its own order."""
        for graph in self.graphs():
            yield from graph.nodes

    def tensors(self) -> dict[str, gs.Tensor]:
        """Every tensor of all graphs that has a name, by name."""
        found: dict[str, Any] = {}
        for graph in self.graphs():
            for tensor in (*graph.inputs, *graph.outputs):
                found.setdefault(tensor.name, tensor)
            for node in graph.nodes:
                for tensor in (*node.inputs, *node.outputs):
                    if tensor.name:
                        found.setdefault(tensor.name, tensor)
        return found

    def node(self, name: str) -> gs.Node:
        """The node called *name*. Raises KeyError where there is none."""
        for node in self.nodes():
            if node.name == name:
                return node
        raise KeyError(name)

    def unique_name(self, base: str) -> str:
        """*base*, or *base* with the smallest ``_N`` that no node or tensor has yet."""
        taken = self.tensors().keys() | {n.name for n in self.nodes()}
        if base not in taken:
            return base
        i = 1
        while f"{base}_{i}" in taken:
            i += 1
        return f"{base}_{i}"

    def is_output(self, tensor: gs.Tensor) -> bool:
        """Whether *tensor* is an output of the main graph or of any sub-graph."""
        return any(t is tensor for g in self.graphs() for t in g.outputs)
