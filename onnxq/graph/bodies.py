"""Bodies of If, Loop and Scan as models of their own, and back into the model around them.

A body may read any tensor around it. As a model of its own these are inputs, in front of its own,
unless their values are stored: then it gets a copy of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

#: Operators of the standard domain with bodies, and the attributes that hold these.
CONTROL = {"If": ("then_branch", "else_branch"), "Loop": ("body",), "Scan": ("body",)}


@dataclass(frozen=True)
class Body:
    """A body of a node of the main graph.

    Attributes:
        node: the node's name.
        op: its type.
        attribute: which of its attributes holds the body.
        model: the body as a model; the types of captured inputs are not stated yet.
        captured: the inputs of *model* that are tensors of the graph around, in order.
        own: the inputs of *model* that the node feeds, in order.
    """

    node: str
    op: str
    attribute: str
    model: ModelProto
    captured: tuple[str, ...]
    own: tuple[str, ...]

    @property
    def where(self) -> str:
        """In words, for messages."""
        return f"{self.attribute} of '{self.node}'"


def bodies(model: ModelProto) -> Iterator[Body]:
    """The bodies of all If, Loop and Scan of the main graph of *model*, in order."""
    stored = _stored(model.graph)
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        for name in CONTROL.get(node.op_type, ()):
            graph = _held(node, name).g
            outer = [n for n in dict.fromkeys(captures(graph)) if n]
            captured = tuple(n for n in outer if n not in stored)
            alone = ModelProto()
            alone.CopyFrom(_without_graph(model))
            alone.graph.CopyFrom(graph)
            alone.graph.name = alone.graph.name or "body"
            for known in (n for n in outer if n in stored):
                alone.graph.initializer.add().CopyFrom(stored[known])
                alone.graph.initializer[-1].name = known
            own = list(alone.graph.input)
            del alone.graph.input[:]
            alone.graph.input.extend(onnx.ValueInfoProto(name=n) for n in captured)
            alone.graph.input.extend(own)
            yield Body(
                node.name, node.op_type, name, alone, captured, tuple(i.name for i in own)
            )  # fmt: skip


def put_back(model: ModelProto, body: Body, done: ModelProto) -> dict[str, str]:
    """Let *done*, made of ``body.model``, be the body in *model*, in place.

    Names of its inner tensors and nodes that *model* has too get a suffix: the names by those in
    *done*.
    """
    node = next(n for n in model.graph.node if n.name == body.node)
    held = _held(node, body.attribute)
    held.g.Clear()
    stated = {v.name: v for v in (*body.model.graph.input, *body.model.graph.output)}
    taken = set(_names(model.graph))
    kept = {*body.captured, *body.own, *(o.name for o in done.graph.output)}
    graph = GraphProto()
    graph.CopyFrom(done.graph)
    own = [i for i in graph.input if i.name in body.own]
    del graph.input[:]
    graph.input.extend(own)
    for value in (*graph.input, *graph.output):  # types were completed for a model of its own
        value.CopyFrom(stated[value.name])
    inner = dict.fromkeys(n for n in _names(graph) if n and n not in kept)
    fresh: dict[str, str] = {}
    for name in inner:
        if name in taken:
            number = 1
            while f"{name}__{number}" in taken or f"{name}__{number}" in inner:
                number += 1
            fresh[name] = f"{name}__{number}"
    if fresh:
        _rename(graph, fresh)
    held.g.CopyFrom(graph)
    versions = {o.domain: o for o in model.opset_import}
    model.opset_import.extend(o for o in done.opset_import if o.domain not in versions)
    model.ir_version = max(model.ir_version, done.ir_version)
    return fresh


def captures(graph: GraphProto) -> Iterator[str]:
    """Names of the tensors around *graph* that it reads or gives out, as often as it does."""
    there = {i.name for i in graph.input} | {t.name for t in graph.initializer}
    there |= {s.values.name for s in graph.sparse_initializer}
    there |= {o for n in graph.node for o in n.output}
    for node in graph.node:
        inner = (n for g in subgraphs(node) for n in captures(g))
        yield from (n for n in (*node.input, *inner) if n not in there)
    yield from (o.name for o in graph.output if o.name not in there)


def node_names(graph: GraphProto) -> Iterator[str]:
    """Names of the nodes of *graph* and of the graphs in it."""
    for node in graph.node:
        yield node.name
        for inner in subgraphs(node):
            yield from node_names(inner)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs among the attributes of *node*."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _stored(graph: GraphProto) -> dict[str, TensorProto]:
    """Initializers of *graph* and the tensors of its Constant nodes, by name."""
    constants = (n for n in graph.node if n.op_type == "Constant")
    held = {n.output[0]: a.t for n in constants for a in n.attribute if a.name == "value"}
    return held | {t.name: t for t in graph.initializer}


def _held(node: NodeProto, name: str) -> AttributeProto:
    held: AttributeProto = next(a for a in node.attribute if a.name == name)
    return held


def _without_graph(model: ModelProto) -> ModelProto:
    """What *model* says besides its graph: versions and functions."""
    bare = ModelProto(ir_version=model.ir_version)
    bare.opset_import.extend(model.opset_import)
    bare.functions.extend(model.functions)
    return bare


def _names(graph: GraphProto) -> Iterator[str]:
    """Names of all nodes and tensors of *graph* and of the graphs in it."""
    for values in (graph.input, graph.output, graph.initializer):
        yield from (v.name for v in values)
    yield from (s.values.name for s in graph.sparse_initializer)
    for node in graph.node:
        yield from (node.name, *node.input, *node.output)
        for inner in subgraphs(node):
            yield from _names(inner)


def _rename(graph: GraphProto, fresh: Mapping[str, str]) -> None:
    """Give tensors and nodes of *graph*, and of the graphs in it, the names *fresh*."""

    def renamed(names: Sequence[str]) -> list[str]:
        return [fresh.get(n, n) for n in names]

    for values in (graph.input, graph.output, graph.value_info, graph.initializer):
        for value in values:
            value.name = fresh.get(value.name, value.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = fresh.get(sparse.values.name, sparse.values.name)
    for node in graph.node:
        node.name = fresh.get(node.name, node.name)
        node.input[:], node.output[:] = renamed(node.input), renamed(node.output)
        for inner in subgraphs(node):
            _rename(inner, fresh)
