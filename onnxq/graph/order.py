"""Topological order: kept where it holds, else restored stably."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx
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
    order = nx.DiGraph()
    order.add_nodes_from(range(len(nodes)))
    order.add_edges_from(
        (place[id(above)], i)
        for i, node in enumerate(nodes)
        for tensor in reads(node)
        for above in tensor.inputs
        if id(above) in place
    )
    try:
        return [nodes[i] for i in nx.lexicographical_topological_sort(order, key=int)]
    except nx.NetworkXUnfeasible:
        cycle = [nodes[a] for a, _ in nx.find_cycle(order)]
        names = [node.name or f"({node.op})" for node in (*cycle, cycle[0])]
        shown = [*names[:8], "…", names[-1]] if len(names) > 10 else names
        raise OnnxqError(
            f"graph '{graph.name}' has a cycle: {' → '.join(shown)}",
            why="each of these nodes needs a result of the one before it",
        ) from None
