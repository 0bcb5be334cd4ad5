"""Give back what tools on protobuf level (version converter, inliner) drop, by name."""

from __future__ import annotations

import onnx_graphsurgeon as gs
from onnx import NodeProto

from onnxq.graph.carried import Carried, CarriedNode
from onnxq.graph.nodes import uid, walk
from onnxq.graph.protos import copy_fields

_HEADER = ("producer_name", "producer_version", "domain", "model_version", "doc_string")


def retain(old: tuple[gs.Graph, Carried], new: tuple[gs.Graph, Carried]) -> None:
    """Let *new* carry what *old* carries and a tool dropped.

    These are the fields of the header, and the docs and metadata of nodes that still have their
    name and operator. A name that several nodes have says nothing and is left out.
    """
    before, after = old[1], new[1]
    for field in _HEADER:
        if before.header.HasField(field) and not getattr(after.header, field):
            setattr(after.header, field, getattr(before.header, field))
    if not any(node.rest.doc_string or node.rest.metadata_props for node in before.nodes.values()):
        return
    found = _by_name(old[0])
    for key, node in _by_name(new[0]).items():
        source = found.get(key)
        kept = before.nodes.get(uid(source)) if node is not None and source is not None else None
        if kept is not None:
            _fill(after, uid(node), kept)


def _by_name(graph: gs.Graph) -> dict[tuple[str, str], gs.Node | None]:
    found: dict[tuple[str, str], gs.Node | None] = {}
    for inner in walk(graph):
        for node in inner.nodes:
            if node.name:
                key = (node.name, node.op)
                found[key] = None if key in found else node
    return found


def _fill(carried: Carried, number: int, kept: CarriedNode) -> None:
    now = carried.nodes.get(number, CarriedNode())
    rest = copy_fields(now.rest, NodeProto())
    if kept.rest.doc_string and not rest.doc_string:
        rest.doc_string = kept.rest.doc_string
    if not rest.metadata_props:
        rest.metadata_props.extend(kept.rest.metadata_props)
    carried.nodes[number] = CarriedNode(rest, now.attributes, now.names)
