"""What rewriting passes ask of a graph: who is local, who else reads a tensor, what is an output.

Sub-graphs make these questions harder than they look: a tensor may be read inside a branch, and a
branch's output must be computed in the branch. A ``Scope`` answers them by identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import (
    Model,
    bypass,
    consumers,
    insert_node,
    producer,
    remove_node,
    replace_input,
)
from onnxq.passes._types import Stated


class Scope:
    """The nodes of a model, with the graph that each is in, while one pass edits them."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.graphs = list(model.graphs())
        self.stated = Stated(model)
        # the node is kept beside its graph, so that its id cannot be given to another one
        self._home = {id(n): (n, g) for g in self.graphs for n in g.nodes}

    def sites(self, *ops: str) -> Iterator[gs.Node]:
        """Nodes of the standard domain of type *ops* (all types where none is given).

        Nodes that are removed meanwhile are left out, nodes that are added are not visited.
        """
        for graph in self.graphs:
            for node in list(graph.nodes):
                if node.outputs and is_standard(node) and (not ops or node.op in ops):
                    yield node

    def graph(self, node: gs.Node) -> gs.Graph:
        """The graph that holds *node*."""
        return self._home[id(node)][1]

    def above(self, node: gs.Node, index: int = 0) -> gs.Node | None:
        """What computes input *index* of *node* in the same graph.

        None where the input is absent, constant, an input of the graph, or captured from outside.
        """
        if index >= len(node.inputs):
            return None
        found = producer(node.inputs[index])
        if found is None or self.graph(found) is not self.graph(node):
            return None
        return found

    def is_output(self, tensor: gs.Tensor) -> bool:
        """Whether *tensor* is an output of any graph."""
        return any(t is tensor for g in self.graphs for t in g.outputs)

    def only_use(self, tensor: gs.Tensor) -> bool:
        """Whether exactly one node input reads *tensor*, and no graph gives it out."""
        return len(consumers(tensor)) == 1 and not self.is_output(tensor)

    def others(self, tensor: gs.Tensor, node: gs.Node) -> str:
        """In words, what reads *tensor* besides *node*; empty where nothing does."""
        if self.is_output(tensor):
            return "an output of the graph"
        names = [n.name or n.op for n, _ in consumers(tensor) if n is not node]
        return f"read by '{names[0]}' too" if names else ""

    def insert(
        self,
        beside: gs.Node,
        op: str,
        inputs: Sequence[gs.Tensor],
        outputs: Sequence[gs.Tensor],
        attrs: Mapping[str, Any] | None = None,
        *,
        name: str,
        domain: str | None = None,
    ) -> gs.Node:
        """Add a node to the graph that holds *beside*, whose docs and metadata it inherits."""
        graph = self.graph(beside)
        node = insert_node(
            self.model, op, inputs, outputs, attrs, name=name, graph=graph, domain=domain,
            like=beside,
        )  # fmt: skip
        self._home[id(node)] = (node, graph)
        return node

    def absorb(self, node: gs.Node, into: gs.Node) -> None:
        """Remove *node*; *into* writes the first output of *node* instead of its own.

        The name that stays is that of the later tensor, because it goes on to mean the same.
        """
        result = node.outputs[0]
        remove_node(self.model, node)
        into.outputs[0] = result

    def remove(self, node: gs.Node) -> None:
        """Take *node*, whose outputs nothing reads any more, out of its graph."""
        remove_node(self.model, node)

    def cannot_bypass(self, node: gs.Node, index: int = 0) -> str:
        """Why *node* cannot be replaced by its input *index*; empty where it can."""
        source, result = node.inputs[index], node.outputs[0]
        if not self.is_output(result):
            return ""
        if self.is_output(source):
            return f"its input '{source.name}' and its output are both outputs of the graph"
        if self.above(node, index) is None:
            return f"its output is an output of the graph, and '{source.name}' comes from outside"
        return ""

    def bypass(self, node: gs.Node, index: int = 0) -> str:
        """Let what reads *node* read its input *index*; or say why that cannot be."""
        reason = self.cannot_bypass(node, index)
        if not reason and not bypass(self.model, node, index):
            return "another output of it is used"
        return reason

    def store(self, node: gs.Node, constants: Sequence[gs.Constant | None]) -> None:
        """Remove *node*; what read its outputs reads *constants* instead, one for each output.

        None stands for an output that nothing reads. None of the outputs may be a graph's output.
        """
        readers = [consumers(t) for t in node.outputs]
        remove_node(self.model, node)
        for uses, constant in zip(readers, constants, strict=True):
            for reader, index in uses:
                replace_input(reader, index, constant)

    def set_constant(
        self, node: gs.Node, index: int, values: NDArray[Any], name: str = ""
    ) -> gs.Constant:
        """Give input *index* of *node* the constant *values*, for this node alone.

        A constant with other readers stays as it is and is copied under a derived name. Arrays are
        replaced, never written into. A missing optional input is filled; *name* names it.
        """
        values = np.ascontiguousarray(values) if values.ndim else np.asarray(values)
        old = node.inputs[index] if index < len(node.inputs) else None
        if isinstance(old, gs.Constant) and self.only_use(old):
            old.values = values
            return old
        base = f"{old.name}__{node.name or node.op}" if isinstance(old, gs.Constant) else name
        new = gs.Constant(self.model.unique_name(base), values)
        replace_input(node, index, new)
        return new


def is_standard(node: gs.Node) -> bool:
    """Whether *node* is of the default operator domain."""
    return node.domain in {None, "", "ai.onnx"}


def present(node: gs.Node, index: int) -> bool:
    """Whether the optional input *index* of *node* is given."""
    return index < len(node.inputs) and bool(node.inputs[index].name)
