"""Node identity: ids for nodes, tensors and graphs, and nodes that compare by identity."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx_graphsurgeon as gs
from onnx_graphsurgeon.util.misc import SynchronizedList

_ids = itertools.count(1)


def uid(item: gs.Node | gs.Tensor | gs.Graph) -> int:
    """The id of a node, tensor or graph, given at first use and never given again.

    It follows the object through renames and through ``to_constant`` and ``to_variable``; a copy
    that graphsurgeon makes (``.copy()``) is a new object and gets a new id, and the clone of a
    model keeps the ids of the original.
    """
    fields = item.__dict__  # gs.Graph reports unknown attributes on standard error
    if "_uid" not in fields:
        fields["_uid"] = next(_ids)
    return int(fields["_uid"])


def set_uid(item: Any, number: int) -> None:
    """Give a clone the id of its original."""
    item.__dict__["_uid"] = number


class Slots(SynchronizedList):  # type: ignore[misc]
    """Inputs or outputs of a node: notes the names of tensors that are put in."""

    def _add_to_elem(self, elem: gs.Tensor) -> None:
        self.parent_obj.known_names.add(elem.name)
        super()._add_to_elem(elem)


class Node(gs.Node):  # type: ignore[misc]
    """A graphsurgeon node that compares by identity and can be hashed.

    graphsurgeon compares nodes by value, also where it cuts an edge: of two equal nodes, it may
    cut the wrong one, and each comparison reads all attributes.
    """

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(
        self,
        op: str,
        name: str,
        attrs: Mapping[str, Any],
        inputs: Iterable[gs.Tensor],
        outputs: Iterable[gs.Tensor],
        domain: str | None,
        known_names: set[str],
    ) -> None:
        self.known_names = known_names
        self.op, self.name, self.attrs, self.domain = op, name, dict(attrs), domain
        self.inputs = Slots(self, field_name="outputs", initial=list(inputs))
        self.outputs = Slots(self, field_name="inputs", initial=list(outputs))


def subgraphs(node: gs.Node) -> Iterator[gs.Graph]:
    """The graphs among the attributes of *node*, those in lists included; not their own ones."""
    for value in node.attrs.values():
        if isinstance(value, gs.Graph):
            yield value
        elif isinstance(value, list) and value and isinstance(value[0], gs.Graph):
            yield from value


def walk(graph: gs.Graph) -> Iterator[gs.Graph]:
    """*graph*, then every graph below it, depth first."""
    stack = [graph]
    while stack:
        current = stack.pop()
        yield current
        below = [inner for node in current.nodes for inner in subgraphs(node)]
        stack += reversed(below)
