"""Which graph each constant is an initializer of, and which tensors are in use."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from onnxq.graph.carried import Carried
from onnxq.graph.nodes import subgraphs, uid


@dataclass
class Census:
    """What a model contains at the moment.

    Attributes:
        live: every tensor that is read, computed, or an input or output, by id.
        constants: by graph id, the constants to store there, in their order.
    """

    live: dict[int, gs.Tensor] = field(default_factory=dict)
    constants: dict[int, list[gs.Constant]] = field(default_factory=dict)


def census(root: gs.Graph, carried: Carried) -> Census:
    """Count what *root* and its sub-graphs contain.

    A constant is stored in the graph it came from; a new one in the innermost graph that contains
    all of its uses. Loaded ones come first, in their old order; new ones in the order of use.
    """
    found, paths, where = Census(), dict[int, tuple[int, ...]](), dict[int, tuple[int, ...]]()

    def visit(graph: gs.Graph, path: tuple[int, ...]) -> None:
        path = (*path, uid(graph))
        paths[uid(graph)] = path
        for tensor in graph.inputs:
            found.live.setdefault(uid(tensor), tensor)
        for node in graph.nodes:
            for tensor in node.inputs:
                see(tensor, path)
            for tensor in node.outputs:
                found.live.setdefault(uid(tensor), tensor)
            for inner in subgraphs(node):
                visit(inner, path)
        for tensor in graph.outputs:
            see(tensor, path)

    def see(tensor: gs.Tensor, path: tuple[int, ...]) -> None:
        number = uid(tensor)
        found.live.setdefault(number, tensor)
        if isinstance(tensor, gs.Constant):
            where[number] = _common(where.get(number, path), path)

    visit(root, ())
    for key, graph in carried.graphs.items():
        for number, constant in graph.unused.items() if key in paths else ():
            found.live.setdefault(number, constant)
            where.setdefault(number, paths[key])
    for number, path in where.items():
        old = paths.get(carried.home.get(number, (0, 0))[0])
        home = path if old is None else _common(path, old)
        found.constants.setdefault(home[-1], []).append(found.live[number])
    for key, constants in found.constants.items():

        def place(constant: gs.Constant, key: int = key) -> float:
            graph, position = carried.home.get(uid(constant), (0, 0))
            return position if graph == key else float("inf")

        constants.sort(key=place)
    return found


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    size = 0
    while size < min(len(a), len(b)) and a[size] == b[size]:
        size += 1
    return a[:size]
