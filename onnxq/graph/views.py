"""networkx views for analyses; they are never the storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import onnx_graphsurgeon as gs

from onnxq.graph.nodes import uid
from onnxq.graph.order import reads

if TYPE_CHECKING:
    import networkx as nx

    Digraph: TypeAlias = nx.MultiDiGraph


def digraph(graph: gs.Graph) -> Digraph:
    """A frozen picture of *graph*.

    Nodes are keyed by id (``Model.uid``) and have the attribute ``node``; an edge goes from a
    producer to each reader, is keyed by the tensor's name and has the attributes ``tensor`` and
    ``captured`` (read only by a sub-graph of the reader). Inputs and constants make no edge.
    """
    import networkx as nx

    view = nx.MultiDiGraph(name=graph.name)
    for node in graph.nodes:
        view.add_node(uid(node), node=node)
    here = {id(node) for node in graph.nodes}
    for node in graph.nodes:
        direct = {id(t) for t in node.inputs}
        for tensor in reads(node):
            for above in tensor.inputs:
                if id(above) in here:
                    view.add_edge(
                        uid(above), uid(node), key=tensor.name, tensor=tensor,
                        captured=id(tensor) not in direct,
                    )  # fmt: skip
    return nx.freeze(view)
