"""The best precisions at a price: a minimum cut; and for every price: the lower convex hull.

Each layer is on the float side or on the integer side of a cut; on its side it takes the precision
with the least noise + price · cost. What depends on several layers, the rounding of an activation
(paid where any layer at it is in integers) and its conversion (paid where they differ), are edges
to helper nodes. All of these are sub-modular, so that the cut is the optimum and no heuristic.

Source: Picard 1976, "Maximal Closure of a Graph"; Kolmogorov and Zabih 2004, "What Energy Functions
Can Be Minimized via Graph Cuts?"; Aneja and Nair 1979, "Bicriteria Transportation Problem", for
finding all corners of the hull with one solution each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import networkx as nx

from onnxq.api.tune.problem import FLOATS, INTEGERS, Layer, Problem

_SCALE = 10**12
"""Capacities are integers: the largest noise or cost is this many units."""


@dataclass(frozen=True)
class Point:
    """A choice and what it is predicted to be.

    Attributes:
        chosen: by node, the precision.
        noise: noise to signal at the outputs.
        cost: share of the float network's cost.
    """

    chosen: Mapping[str, str]
    noise: float
    cost: float


def solve(problem: Problem, price: float) -> Point:
    """The choice with the least noise + *price* · cost."""
    best: dict[str, dict[bool, tuple[float, str]]] = {}
    for layer in problem.layers:
        best[layer.node] = {}
        for integer, names in ((True, INTEGERS), (False, FLOATS)):
            options = [
                (layer.noise[p] + price * layer.cost[p], p) for p in names if p in layer.noise
            ]
            if options:
                best[layer.node][integer] = min(options)
    together = [*problem.activations.values(), *(price * c for c in problem.conversions.values())]
    finite = [e for sides in best.values() for e, _ in sides.values()]
    unit = max([*finite, *together, 1e-300])

    def whole(value: float) -> int:
        return round(value / unit * _SCALE)

    graph: nx.DiGraph[object] = nx.DiGraph()
    graph.add_nodes_from(("float", "integer"))
    never = _SCALE * (len(best) + 2 * len(problem.ends) + 1)
    for node, sides in best.items():
        # an edge is paid for where its start is on the float side and its end is not
        ends = ("float", ("layer", node)), (("layer", node), "integer")
        for integer, edge in ((True, ends[0]), (False, ends[1])):
            capacity = whole(sides[integer][0]) if integer in sides else never
            graph.add_edge(*edge, capacity=capacity)
    for tensor, nodes in problem.ends.items():
        rounded, kept = ("rounded", tensor), ("kept", tensor)
        graph.add_edge("float", rounded, capacity=whole(problem.activations.get(tensor, 0.0)))
        conversion = whole(price * problem.conversions.get(tensor, 0.0))
        if conversion and len(nodes) > 1:
            graph.add_edge(kept, rounded, capacity=conversion)
        for node in nodes:
            graph.add_edge(rounded, ("layer", node), capacity=never)
            if conversion and len(nodes) > 1:
                graph.add_edge(("layer", node), kept, capacity=never)
    _, (in_float, _) = nx.minimum_cut(graph, "float", "integer")
    chosen = {node: sides[("layer", node) not in in_float][1] for node, sides in best.items()}
    return Point(chosen, problem.noise(chosen), problem.cost(chosen))


def hull(problem: Problem, most: int = 100) -> list[Point]:
    """Corners of the lower convex hull of noise and cost, the most accurate first.

    *most* solutions are computed at most.
    """
    if not problem.layers:
        return []
    first = _extreme(problem, lambda layer, p: (layer.noise[p], layer.cost[p]))
    last = _extreme(problem, lambda layer, p: (layer.cost[p], layer.noise[p]))
    found = {_key(p): p for p in (first, last)}
    waiting = [(first, last)]
    solved = 0
    while waiting and solved < most:
        one, two = waiting.pop(0)  # level by level: evenly, should it end early
        if not (one.cost > two.cost and two.noise > one.noise):
            continue
        price = (two.noise - one.noise) / (one.cost - two.cost)
        between = solve(problem, price)
        solved += 1
        line = one.noise + price * one.cost
        if _key(between) in found or between.noise + price * between.cost >= line * (1 - 1e-9):
            continue
        found[_key(between)] = between
        waiting += [(one, between), (between, two)]
    points = sorted(found.values(), key=lambda p: (p.noise, p.cost, sorted(p.chosen.items())))
    kept: list[Point] = []
    for point in points:
        if not kept or point.cost < kept[-1].cost:
            kept.append(point)
    return kept


def _extreme(problem: Problem, key: Callable[[Layer, str], tuple[float, float]]) -> Point:
    """Every layer at its precision with the least *key*."""
    chosen = {
        layer.node: min(layer.noise, key=lambda p, layer=layer: key(layer, p))  # type: ignore[misc]
        for layer in problem.layers
    }
    return Point(chosen, problem.noise(chosen), problem.cost(chosen))


def _key(point: Point) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(point.chosen.items()))
