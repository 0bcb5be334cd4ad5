"""Edit verbs: the only way in which passes change a graph.

graphsurgeon's nodes and tensors compare by value; these verbs go by identity, keep both ends of
every edge, and respect sub-graphs that capture a tensor (a captured tensor is the same object
inside, so its consumers include the inner nodes). What happens to docs, metadata and the other
things that a graphsurgeon graph cannot carry is stated in `onnxq.graph.carried`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import OnnxqError
from onnxq.graph.model import Model
from onnxq.graph.nodes import Node, subgraphs, uid


def producer(tensor: gs.Tensor) -> gs.Node | None:
    """The node that computes *tensor*; None for graph inputs and constants."""
    return tensor.inputs[0] if tensor.inputs else None


def consumers(tensor: gs.Tensor) -> list[tuple[gs.Node, int]]:
    """Each use of *tensor* as (node, input index), sub-graphs' nodes included, in order.

    A graph output is no use in this sense: see ``Model.is_output``.
    """
    uses, seen = [], set()
    for node in tensor.outputs:
        if id(node) not in seen:
            seen.add(id(node))
            uses += [(node, i) for i, t in enumerate(node.inputs) if t is tensor]
    return uses


def is_constant(tensor: gs.Tensor) -> bool:
    """Whether the value of *tensor* is stored in the model."""
    return isinstance(tensor, gs.Constant)


def constant_value(tensor: gs.Tensor) -> NDArray[Any] | None:
    """The stored value of *tensor*, read-only as it was loaded; None where it has none.

    Raises:
        ModelFileError: the stored data is damaged, or its external file is gone.
    """
    return np.asarray(tensor.values) if isinstance(tensor, gs.Constant) else None


def attribute(node: gs.Node, name: str, default: Any = None) -> Any:
    """Attribute *name* of *node*, *default* where it is absent."""
    return node.attrs.get(name, default)


def insert_node(
    model: Model,
    op: str,
    inputs: Sequence[gs.Tensor],
    outputs: Sequence[gs.Tensor],
    attrs: Mapping[str, Any] | None = None,
    *,
    name: str,
    graph: gs.Graph | None = None,
    domain: str | None = None,
    like: gs.Node | Sequence[gs.Node] = (),
) -> gs.Node:
    """Add a node to *graph* (the main one by default); order is restored when saving.

    Args:
        model: the model.
        op: operator type.
        inputs: tensors that it reads; ``gs.Variable.empty()`` for an omitted one.
        outputs: tensors that it computes.
        attrs: attributes, as Python values.
        name: its name, as a rule from ``Model.unique_name``.
        graph: the graph that it goes to.
        domain: operator domain, None for ONNX's own.
        like: the node, or the nodes, that it replaces: it inherits their docs, metadata and
            device configurations; the first has precedence.
    """
    node = Node(op, name, attrs or {}, inputs, outputs, domain, model.index.names)
    home = model.graph if graph is None else graph
    model.graphs()  # lets the index see direct changes first
    model.index.append(home, node)
    sources = [like] if isinstance(like, gs.Node) else like
    model.carried.inherit(uid(node), [uid(source) for source in sources])
    return node


def replace_input(node: gs.Node, index: int, tensor: gs.Tensor) -> None:
    """Let input *index* of *node* read *tensor*; other inputs and other uses stay.

    Optional inputs before *index* that the node does not have are filled in as omitted.
    """
    while len(node.inputs) <= index:
        node.inputs.append(gs.Variable.empty())
    node.inputs[index] = tensor


def replace_uses(model: Model, old: gs.Tensor, new: gs.Tensor) -> None:
    """Let every consumer of *old*, and every graph output that is *old*, read *new*.

    A graph output keeps its name and its value info: where *old* is one, *new* takes over its
    name. Where *new* has to keep its own (it is an input or another output, or comes from an outer
    graph), an Identity node computes the output from it.
    """
    if new is old:
        return
    for node, index in consumers(old):
        replace_input(node, index, new)
    for graph in model.graphs():
        slots = [i for i, tensor in enumerate(graph.outputs) if tensor is old]
        if not slots:
            continue
        if new.dtype is None and isinstance(new, gs.Variable):
            new.dtype, new.shape = old.dtype, old.shape
        result = new if _may_rename(model, graph, new) else _alias(model, graph, old, new)
        name, old.name = old.name, model.unique_name(f"{old.name}__old")
        result.name = name
        for i in slots:
            graph.outputs[i] = result
        infos = model.carried.infos.get(("output", uid(old)))
        if infos is not None:
            model.carried.infos["output", uid(result)] = infos


def _may_rename(model: Model, graph: gs.Graph, tensor: gs.Tensor) -> bool:
    """Whether *tensor* can become an output of *graph* and take another name for it."""
    if model.is_output(tensor) or any(t is tensor for g in model.graphs() for t in g.inputs):
        return False
    if isinstance(tensor, gs.Constant):
        return False  # runtimes differ on outputs that are initializers
    return any(node is above for above in tensor.inputs for node in graph.nodes)


def _alias(model: Model, graph: gs.Graph, old: gs.Tensor, new: gs.Tensor) -> gs.Variable:
    """A new tensor of *graph* that an Identity node copies from *new*."""
    alias = gs.Variable(model.unique_name(f"{old.name}__alias"), old.dtype, old.shape)
    name = model.unique_name(f"{old.name}__identity")
    insert_node(model, "Identity", [new], [alias], name=name, graph=graph)
    return alias


def remove_node(model: Model, node: gs.Node) -> None:
    """Take *node* out of its graph and cut its edges, those of its sub-graphs included.

    Raises:
        OnnxqError: it is in no graph of *model*.
    """
    model.graphs()  # lets the index see direct changes first
    if not model.index.remove(node):
        raise OnnxqError(f"node '{node.name}' ({node.op}) cannot be removed: it is in no graph")
    _cut(node)


def _cut(node: gs.Node) -> None:
    for graph in subgraphs(node):
        for inner in graph.nodes:
            _cut(inner)
    node.inputs.clear()
    node.outputs.clear()


def bypass(model: Model, node: gs.Node, index: int = 0) -> bool:
    """Remove *node*; what read its first output reads its input *index* instead.

    Returns:
        False, and nothing has changed, where the node has to stay: another of its outputs is used,
        the input is omitted, or its output is a graph output and the input cannot take that
        place (it is an input, a constant, an output itself, or comes from an outer graph).
    """
    source, result = node.inputs[index], node.outputs[0]
    others = [t for t in node.outputs[1:] if t.name]
    if not source.name or any(consumers(t) or model.is_output(t) for t in others):
        return False
    if not model.is_output(result):
        remove_node(model, node)
        replace_uses(model, result, source)
        return True
    above = producer(source)
    graph = next(g for g in model.graphs() if any(t is result for t in g.outputs))
    if above is None or not _may_rename(model, graph, source):
        return False
    # the output keeps its name and object: let the producer write it directly
    remove_node(model, node)
    for user, i in consumers(source):
        replace_input(user, i, result)
    slot = next(i for i, t in enumerate(above.outputs) if t is source)
    above.outputs[slot] = result
    return True
