"""The model that passes work on: an onnx-graphsurgeon graph and what that cannot carry."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
import onnx_graphsurgeon as gs
from onnx import ModelProto

from onnxq.errors import ModelFileError, OnnxqError
from onnxq.graph import order, views
from onnxq.graph.carried import Carried
from onnxq.graph.clone import clone
from onnxq.graph.exporter import Exporter
from onnxq.graph.external import ExternalWriter
from onnxq.graph.header import get_metadata, suitable_ir
from onnxq.graph.importer import Importer
from onnxq.graph.names import Index
from onnxq.graph.nodes import uid
from onnxq.graph.read import as_proto, check, read_file
from onnxq.graph.retain import retain
from onnxq.graph.values import StoredSparse, StoredValues
from onnxq.graph.write import LIMIT, write

STREAMED = 1 << 28
"""Models of more bytes that came with external data are written tensor after tensor."""
OUTLINED = 1 << 20
"""Tensors of so many bytes are left out of an outline."""


class Model:
    """An ONNX model under edit.

    Loading and saving without an edit keeps every field. What graphsurgeon's graph cannot carry
    lies in ``carried``; the rules that it follows when a pass edits are in `onnxq.graph.carried`.

    Attributes:
        graph: the main graph, edited in place by passes with the verbs of ``onnxq.graph.edit``.
        path: the file that it was loaded from, None for one that was in memory.
        metadata: ``metadata_props``; changes are saved, new keys sorted.
        carried: what is kept beside the graph.
    """

    def __init__(self, graph: gs.Graph, path: Path | None = None) -> None:
        self.graph, self.path = graph, path
        self.metadata: dict[str, str] = {}
        self.carried = Carried()
        header = self.carried.header
        header.ir_version = graph.ir_version or suitable_ir(int(graph.opset))
        for field in ("producer_name", "producer_version"):
            if getattr(graph, field):
                setattr(header, field, getattr(graph, field))
        header.opset_import.add(domain="", version=int(graph.opset))
        self.index = Index(graph, set())

    @classmethod
    def load(cls, source: str | PathLike[str] | ModelProto | bytes | Any) -> Model:
        """Read a model; external data stays on disk until used.

        Args:
            source: a path, a ``ModelProto``, the bytes of a file, or anything with
                ``.model_proto`` (what ``torch.onnx.export`` returns). A message is copied.

        Raises:
            ModelFileError: the file is missing, truncated, not an ONNX model, newer than the
                installed onnx, cyclic, or its external data is missing, too short or lies outside
                the model's folder.
        """
        proto = as_proto(source)
        if proto is not None:
            return cls._read(proto, None)
        if not isinstance(source, (str, PathLike)):
            raise ModelFileError(
                f"a model cannot be loaded from {type(source).__name__}",
                hint="give a path, a ModelProto, bytes, or the result of torch.onnx.export",
            )
        return cls._read(read_file(source), Path(source))

    @classmethod
    def _read(cls, proto: ModelProto, path: Path | None) -> Model:
        names: set[str] = set()
        importer = Importer(path, names)
        model = cls(importer.model(proto), path)
        model.carried, model.index = importer.carried, Index(model.graph, names)
        model.metadata = get_metadata(model.carried.header)
        for stored in model._external():
            stored.where.size()  # type: ignore[union-attr]
        try:
            model.sort()
        except OnnxqError as error:
            raise ModelFileError(error.message, why=error.why) from error
        return model

    def to_proto(self, *, embed: bool = True) -> ModelProto:
        """The model as a protobuf message; changing it does not change the model.

        Args:
            embed: read external data into the message, so that it stands alone. False keeps the
                references as they were loaded; they are relative to the folder of ``path``.

        Raises:
            OnnxqError: a cycle, two tensors of one name, or carried data that lost what it names.
            ModelFileError: external data cannot be read any more.
        """
        return Exporter(self.graph, self.carried, embed=embed).model(self.metadata)

    def outline(self) -> ModelProto:
        """The model as a message to look at: of large tensors it has one value, ``OUTLINED``."""
        exporter = Exporter(self.graph, self.carried, embed=True, outline=OUTLINED)
        return exporter.model(self.metadata)

    def message_bytes(self) -> int:
        """Bytes of the model in one message, external data included.

        Of models with large tensors, without the few bytes that frame each of these.
        """
        large = sum(n for t in self._constants() if (n := _size(t)) >= OUTLINED)
        return large + int(self.outline().ByteSize())

    def save(
        self,
        path: str | PathLike[str],
        *,
        external: bool | None = None,
        threshold: int = 1024,
    ) -> None:
        """Write the model; the file appears complete or not at all.

        Args:
            path: the file; external data goes to ``<file name>.data`` beside it.
            external: store large tensors outside the file. None: only above 2 GB, or above
                ``STREAMED`` where the model was loaded with external data.
            threshold: smallest tensor, in bytes, that is stored outside.

        Raises:
            OutputError: the path cannot be written, or the data would replace the external data
                that this model is read from.
        """
        sources = {s.where.file for s in self._external() if s.where is not None}
        if external is None:
            external = self.stored_bytes() > (STREAMED if sources else LIMIT - (64 << 20))

        def build(sink: ExternalWriter | None) -> ModelProto:
            exporter = Exporter(self.graph, self.carried, embed=True, sink=sink)
            return exporter.model(self.metadata)

        write(path, build, external=external, threshold=threshold, sources=sources)

    def clone(self) -> Model:
        """An independent copy (constants share their arrays: replace them, never write into)."""
        names: set[str] = set(self.index.names)
        graph, carried = clone(self.graph, self.carried, names)
        copy = Model(graph, self.path)
        copy.carried, copy.metadata = carried, dict(self.metadata)
        copy.index = Index(graph, names)
        return copy

    def replace(self, proto: ModelProto) -> None:
        """Take over the content of *proto*, which a tool made of this model; the path stays.

        Metadata, header fields, and docs and metadata of nodes that the tool dropped are kept
        where names tell what they belong to (`onnxq.graph.retain`). Ids are new.

        Raises:
            ModelFileError: *proto* is no model that could be loaded; this one is unchanged then.
        """
        check(proto, "the new content")
        fresh = Model._read(proto, self.path)
        retain((self.graph, self.carried), (fresh.graph, fresh.carried))
        self.graph, self.carried, self.index = fresh.graph, fresh.carried, fresh.index
        self.metadata = {**fresh.metadata, **self.metadata}

    def inline_functions(self) -> bool:
        """Replace calls of the model's own functions by their bodies; False where it has none."""
        if not self.header.functions:
            return False
        self.replace(onnx.inliner.inline_local_functions(self.to_proto(embed=False)))
        return True

    @property
    def header(self) -> ModelProto:
        """The message without its graph: producer, docs, functions, training information."""
        return self.carried.header

    @property
    def opset(self) -> int:
        """Version of the default operator domain."""
        return int(self.graph.opset)

    def uid(self, item: gs.Node | gs.Tensor | gs.Graph) -> int:
        """The id of *item*: stable under edits, the same in clones."""
        return uid(item)

    def digraph(self, graph: gs.Graph | None = None) -> views.Digraph:
        """A read-only networkx view of *graph* (the main one by default); see `views.digraph`."""
        return views.digraph(self.graph if graph is None else graph)

    def sort(self) -> None:
        """Bring the nodes of every graph into topological order, where they are not.

        Raises:
            OnnxqError: a graph has a cycle; its nodes are named.
        """
        for graph in self.graphs():
            nodes = order.sorted_nodes(graph)
            if any(a is not b for a, b in zip(nodes, graph.nodes, strict=True)):
                graph.nodes[:] = nodes

    def graphs(self) -> Iterator[gs.Graph]:
        """The main graph, then every sub-graph, depth first."""
        if self.index.root is not self.graph:
            self.index = Index(self.graph, self.index.names)
        return iter(list(self.index.graphs()))

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
        self.graphs()
        found = self.index.node(name)
        if found is None:
            raise KeyError(name)
        return found

    def unique_name(self, base: str) -> str:
        """*base*, or *base* with the smallest ``_N`` that no node or tensor has or had."""
        self.graphs()
        return self.index.unique_name(base)

    def is_output(self, tensor: gs.Tensor) -> bool:
        """Whether *tensor* is an output of the main graph or of any sub-graph."""
        return any(t is tensor for g in self.graphs() for t in g.outputs)

    def drop_unused(self) -> int:
        """Forget initializers that nothing reads and value infos of no tensor; how many."""
        count = 0
        for kept in self.carried.graphs.values():
            values = [v for v in kept.values if isinstance(v, int)]
            count += len(kept.unused) + len(kept.values) - len(values)
            kept.unused, kept.values = {}, values
        return count

    def drop_annotations(self) -> int:
        """Forget all quantization annotations; returns how many there were."""
        count = sum(len(kept.annotations) for kept in self.carried.graphs.values())
        for kept in self.carried.graphs.values():
            kept.annotations = []
        return count

    def stored_bytes(self) -> int:
        """Bytes that all constants take in a file."""
        return sum(_size(t) for t in self._constants())

    def _constants(self) -> Iterator[gs.Constant]:
        seen: set[int] = set()
        unused = [c for kept in self.carried.graphs.values() for c in kept.unused.values()]
        for tensor in (*self.tensors().values(), *unused, *self._attribute_constants()):
            if isinstance(tensor, gs.Constant) and id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor

    def _attribute_constants(self) -> Iterator[gs.Constant]:
        for node in self.nodes():
            for value in node.attrs.values():
                for item in value if isinstance(value, list) else (value,):
                    if isinstance(item, gs.Constant):
                        yield item

    def _external(self) -> Iterator[StoredValues]:
        for stored in self.carried.stored.values():
            parts = [stored.items, stored.places] if isinstance(stored, StoredSparse) else [stored]
            yield from (part for part in parts if part.where is not None)


def _size(constant: gs.Constant) -> int:
    stored = constant._values
    if isinstance(stored, (StoredValues, StoredSparse)):
        return stored.stored_bytes()
    return int(stored.nbytes)
