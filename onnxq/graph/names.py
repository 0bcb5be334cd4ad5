"""An index of graphs, nodes and names that follows edits at little cost."""

from __future__ import annotations

from itertools import chain
from typing import Any

import onnx_graphsurgeon as gs

from onnxq.graph.nodes import subgraphs, walk


class Index:
    """Looks up by name without walking the graph each time.

    The edit verbs keep it in step. A direct change of a node list is noticed by its length and
    last node, and the index is built again. Names are never given free, so that a name that was
    handed out and is not used yet is not handed out twice. A rename of a node is noticed at
    look-up; a rename of a tensor is not, so new names should come from ``Model.unique_name``.
    """

    def __init__(self, root: gs.Graph, names: set[str]) -> None:
        self.root, self.names = root, names
        self._graphs: list[gs.Graph] = []
        self._state: list[tuple[int, ...]] = []
        self._by_name: dict[str, gs.Node] | None = None
        self._next: dict[str, int] = {}
        self._place: dict[int, int] = {}

    def graphs(self) -> list[gs.Graph]:
        """The main graph, then every sub-graph, depth first."""
        self._refresh()
        return self._graphs

    def unique_name(self, base: str) -> str:
        """*base*, or *base* with the smallest ``_N`` that was never taken."""
        self._refresh()
        name = base
        if base in self.names:
            number = self._next.get(base, 1)
            while f"{base}_{number}" in self.names:
                number += 1
            self._next[base] = number + 1
            name = f"{base}_{number}"
        self.names.add(name)
        return name

    def node(self, name: str) -> gs.Node | None:
        """The first node called *name*."""
        self._refresh()
        if self._by_name is not None:
            found = self._by_name.get(name)
            if found is not None and found.name == name:
                return found
        self._by_name = {}
        for graph in self._graphs:
            for node in graph.nodes:
                self._by_name.setdefault(node.name, node)
        return self._by_name.get(name)

    def append(self, graph: gs.Graph, node: gs.Node) -> None:
        """Add *node* to *graph*."""
        fresh = self._state == self._now() and not _nests(node)
        graph.nodes.append(node)
        self.names.add(node.name)
        if fresh:
            self._state = self._now()
            if self._by_name is not None:
                self._by_name.setdefault(node.name, node)

    def remove(self, node: gs.Node) -> bool:
        """Take *node* out of the graph that contains it; False where none does."""
        for graph in self.graphs():
            nodes = graph.nodes
            # removals come mostly in order: search from the place of the last one
            start = min(max(self._place.get(id(graph), 0) - 1, 0), len(nodes))
            for i in chain(range(start, len(nodes)), range(start)):
                if nodes[i] is node:
                    del nodes[i]
                    self._place[id(graph)] = i
                    self._state = [] if _nests(node) else self._now()
                    known, name = self._by_name or {}, node.name
                    if known.get(name) is node:
                        del known[name]
                    return True
        return False

    def _now(self) -> list[tuple[int, ...]]:
        return [
            (id(g.nodes), len(g.nodes), id(g.nodes[-1]) if g.nodes else 0, len(g.inputs))
            for g in self._graphs
        ]

    def _refresh(self) -> None:
        if self._state and self._state == self._now():
            return
        self._graphs = list(walk(self.root))
        self._state, self._by_name = self._now(), None
        add: Any = self.names.add
        for graph in self._graphs:
            for tensor in (*graph.inputs, *graph.outputs):
                add(tensor.name)
            for node in graph.nodes:
                add(node.name)
                for tensor in (*node.inputs, *node.outputs):
                    add(tensor.name)


def _nests(node: gs.Node) -> bool:
    return next(subgraphs(node), None) is not None
