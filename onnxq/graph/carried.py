"""What graphsurgeon's graph cannot carry, kept beside it by the ids of nodes, tensors and graphs.

The rules, when a pass edits the graph:

- **Node removed**: its docs, metadata and device configurations go with it.
- **Node split, replaced, cloned or fused**: what is new starts empty;
  ``insert_node(..., like=...)``
  lets it inherit the docs, metadata and device configurations of one node, or of several, of which
  the first has precedence. ``overload`` belongs to a function call and is not inherited.
- **Attribute changed**: its doc string stays; the new value is written in its plain form.
- **Attribute of a rare kind** (sparse, type, reference, unknown): an `Opaque` value in ``attrs``;
  it moves with ``attrs``.
- **Node or tensor renamed**: everything follows; names inside value infos, quantization
  annotations and device configurations are rewritten.
- **Tensor's type or shape changed**: docs, metadata and the type's denotation stay; denotations of
  dimensions belong to the old shape and go.
- **Output of a graph replaced**: its value info (docs, type, denotation) is that of the output's
  name and stays with it.
- **Constant changed**: docs and metadata stay, the value is written as ``raw_data``. An unchanged
  one is written in the form in which it came.
- **Tensor removed**: its value info, initializer and annotation go with it. Initializers and value
  infos that no node used when the model was loaded stay, until ``Model.drop_unused``.
- **An annotation, device configuration or training binding names a tensor that is gone** while
  what it describes is still there: an error at save that names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx_graphsurgeon as gs
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorAnnotation,
    ValueInfoProto,
)

from onnxq.graph.values import StoredSparse, StoredValues


@dataclass(frozen=True)
class CarriedNode:
    """Of a node: the message without inputs, outputs, operator and attributes.

    Attributes:
        rest: name (where present), docs, metadata, overload, device configurations.
        attributes: by name, those whose value alone does not give the message.
        names: ids of the tensors that device configurations name.
    """

    rest: NodeProto = field(default_factory=NodeProto)
    attributes: dict[str, AttributeProto] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CarriedAnnotation:
    """A quantization annotation and the ids of the tensors that it names; None: of no node."""

    proto: TensorAnnotation
    tensor: int | None
    parameters: tuple[int | None, ...]


@dataclass
class CarriedGraph:
    """Of a graph: the message without its lists, and the order of these.

    Attributes:
        rest: name, docs, metadata.
        inputs: ids of all inputs, initializers among them included.
        values: value infos in order: a tensor's id, or the message for one of no tensor.
        unused: initializers that nothing reads, by id.
        annotations: quantization annotations.
    """

    rest: GraphProto = field(default_factory=GraphProto)
    inputs: list[int] = field(default_factory=list)
    values: list[int | ValueInfoProto] = field(default_factory=list)
    unused: dict[int, gs.Constant] = field(default_factory=dict)
    annotations: list[CarriedAnnotation] = field(default_factory=list)


@dataclass
class Carried:
    """Of a model: everything beside its graph.

    Attributes:
        header: the message without its graph.
        nodes: by node id.
        graphs: by graph id.
        infos: value infos by (role, tensor id); role is ``input``, ``output`` or ``value``. None
            stands for one that name, type and shape of the tensor give.
        types: by tensor id, type and shape when the model was loaded.
        stored: by tensor id, the form in which a constant came.
        home: by tensor id, the id of the graph whose initializer it is, and its place there.
    """

    header: ModelProto = field(default_factory=ModelProto)
    nodes: dict[int, CarriedNode] = field(default_factory=dict)
    graphs: dict[int, CarriedGraph] = field(default_factory=dict)
    infos: dict[tuple[str, int], list[ValueInfoProto | None]] = field(default_factory=dict)
    types: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    stored: dict[int, StoredValues | StoredSparse] = field(default_factory=dict)
    home: dict[int, tuple[int, int]] = field(default_factory=dict)

    def copy(self) -> Carried:
        """An independent copy; messages are never changed and are shared."""
        header = ModelProto()
        header.CopyFrom(self.header)
        graphs = {
            k: replace(
                g,
                inputs=list(g.inputs),
                values=list(g.values),
                unused=dict(g.unused),
                annotations=list(g.annotations),
            )
            for k, g in self.graphs.items()
        }
        infos = {k: list(v) for k, v in self.infos.items()}
        return Carried(
            header, dict(self.nodes), graphs, infos, dict(self.types), dict(self.stored),
            dict(self.home),
        )  # fmt: skip

    def inherit(self, new: int, sources: Sequence[int]) -> None:
        """Let node *new* carry what the nodes *sources* carry; the first has precedence."""
        found = [self.nodes[s] for s in sources if s in self.nodes]
        if not found:
            return
        rest, names, seen = NodeProto(), dict[str, int](), set[str]()
        for item in found:
            if item.rest.doc_string and not rest.doc_string:
                rest.doc_string = item.rest.doc_string
            for entry in item.rest.metadata_props:
                if entry.key not in seen:
                    seen.add(entry.key)
                    rest.metadata_props.add().CopyFrom(entry)
            if not rest.device_configurations:
                rest.device_configurations.extend(item.rest.device_configurations)
                names = item.names
        self.nodes[new] = CarriedNode(rest, {}, names)


def unchanged(constant: gs.Constant, stored: Any) -> bool:
    """Whether the value of *constant* is still the one that *stored* holds."""
    now = constant._values
    return stored is not None and (now is stored or (now is stored.array and now is not None))
