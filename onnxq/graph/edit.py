"""Edit verbs: the only way in which passes change a graph.

graphsurgeon's nodes and tensors compare by value; these verbs go by identity, keep both ends of
every edge, and respect sub-graphs that capture a tensor (a captured tensor is the same object
inside, so its consumers include the inner nodes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph.model import Model


def producer(tensor: gs.Tensor) -> gs.Node | None:
    """The node that computes *tensor*; None for graph inputs and constants."""
    return tensor.inputs[0] if tensor.inputs else None


def consumers(tensor: gs.Tensor) -> list[tuple[gs.Node, int]]:
    """Each use of *tensor* as (node, input index), sub-graphs' nodes included, in order."""
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
    """The stored value of *tensor*, None where it has none."""
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
) -> gs.Node:
    """Add a node to *graph* (the main one by default); order is restored when saving."""
    node = gs.Node(op, name, dict(attrs or {}), list(inputs), list(outputs), domain)
    (graph or model.graph).nodes.append(node)
    return node


def replace_input(node: gs.Node, index: int, tensor: gs.Tensor) -> None:
    """Let input *index* of *node* read *tensor*; other inputs and other uses stay."""
    node.inputs[index] = tensor


def replace_uses(model: Model, old: gs.Tensor, new: gs.Tensor) -> None:
    """Let every consumer of *old*, and every graph output that is *old*, read *new*.

    A main-graph output keeps its name: where *old* is one, *new* takes over its name.
    """
    for node, index in consumers(old):
        replace_input(node, index, new)
    for graph in model.graphs():
        for i, tensor in enumerate(graph.outputs):
            if tensor is old:
                graph.outputs[i] = new
                old.name, new.name = f"{old.name}__old", old.name


def remove_node(model: Model, node: gs.Node) -> None:
    """Take *node* out of its graph and cut its edges."""
    for graph in model.graphs():
        for i, other in enumerate(graph.nodes):
            if other is node:
                del graph.nodes[i]
                node.inputs.clear()
                node.outputs.clear()
                return


def bypass(model: Model, node: gs.Node, index: int = 0) -> None:
    """Remove *node*; what read its first output reads its input *index* instead."""
    source, result = node.inputs[index], node.outputs[0]
    graph_output = model.is_output(result)
    above = producer(source)
    if graph_output and above is not None and not model.is_output(source):
        # the output keeps its name: let the producer write it directly
        remove_node(model, node)
        for user, i in consumers(source):
            replace_input(user, i, result)
        slot = next(i for i, t in enumerate(above.outputs) if t is source)
        above.outputs[slot] = result
        return
    remove_node(model, node)
    replace_uses(model, result, source)
