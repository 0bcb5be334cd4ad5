"""Topological order: kept where it holds, else restored stably."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

import onnx_graphsurgeon as gs

from onnxq.errors import OnnxqError
from onnxq.graph.nodes import subgraphs


def reads(node: gs.Node) -> Iterator[gs.Tensor]:
    """Tensors that *node* reads, those that its sub-graphs read from outside included.

    Tensors of the sub-graphs themselves are among them: they have producers in there only.
    """
    yield from node.inputs
    for graph in subgraphs(node):
        for inner in graph.nodes:
            yield from reads(inner)
        yield from graph.outputs


def is_sorted(graph: gs.Graph) -> bool:
    """Whether every node of *graph* comes after all that it reads."""
    place = {id(node): i for i, node in enumerate(graph.nodes)}
    return all(
        place.get(id(above), -1) < i
        for i, node in enumerate(graph.nodes)
        for tensor in reads(node)
        for above in tensor.inputs
    )


def sorted_nodes(graph: gs.Graph) -> list[gs.Node]:
    """The nodes of *graph* in topological order, the present one where it is topological.

    Else, of the nodes that can come next, the first in the present order comes next.

    Raises:
        OnnxqError: the graph has a cycle; its nodes are named.
    """
    nodes = list(graph.nodes)
    if is_sorted(graph):
        return nodes
    place = {id(node): i for i, node in enumerate(nodes)}
    sources = [
        {place[id(above)] for t in reads(node) for above in t.inputs if id(above) in place}
        for node in nodes
    ]
    users: list[list[int]] = [[] for _ in nodes]
    for i, above in enumerate(sources):
        for one in above:
            users[one].append(i)
    missing = [len(above) for above in sources]
    ready, found = [i for i, count in enumerate(missing) if not count], []
    while ready:
        found.append(heappop(ready))
        for user in users[found[-1]]:
            missing[user] -= 1
            if not missing[user]:
                heappush(ready, user)
    if len(found) < len(nodes):
        raise _cycle(graph, nodes, users)
    return [nodes[i] for i in found]


def _cycle(graph: gs.Graph, nodes: list[gs.Node], users: list[list[int]]) -> OnnxqError:
    """The error that names the nodes of a cycle."""
    import networkx as nx  # a tenth of a second, which graphs without a cycle need not wait for

    links = nx.DiGraph([(i, user) for i, readers in enumerate(users) for user in readers])
    cycle = [nodes[a] for a, _ in nx.find_cycle(links)]
    names = [node.name or f"({node.op})" for node in (*cycle, cycle[0])]
    shown = [*names[:8], "…", names[-1]] if len(names) > 10 else names
    return OnnxqError(
        f"graph '{graph.name}' has a cycle: {' → '.join(shown)}",
        why="each of these nodes needs a result of the one before it",
    )
