"""Patterns by which users name nodes: globs, operator types, regular expressions, regions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

import onnx_graphsurgeon as gs

from onnxq.errors import OptionError, UnknownNameError
from onnxq.graph import Model


def select(model: Model, pattern: str) -> list[str]:
    """Names of the nodes of *model* that *pattern* matches, in graph order.

    ``conv_*`` a glob on node names; ``op:Sigmoid`` an operator type (a glob too); ``re:…`` a
    regular expression, matched against the whole name; ``from:A,to:B`` every node on a path from
    A to B, both tensors or nodes, nodes included.

    Raises:
        UnknownNameError: nothing matches; the nearest names are listed.
        OptionError: the regular expression or the region cannot be read.
    """
    nodes = list(model.nodes())
    if pattern.startswith("op:"):
        wanted = pattern[3:]
        found = [n.name for n in nodes if fnmatchcase(n.op, wanted)]
        return found or _nothing("operator type", wanted, (n.op for n in nodes))
    if pattern.startswith("re:"):
        try:
            expression = re.compile(pattern[3:])
        except re.error as error:
            raise OptionError(f"pattern '{pattern}' is no regular expression: {error}") from error
        found = [n.name for n in nodes if expression.fullmatch(n.name)]
        return found or _nothing("node (by regular expression)", pattern[3:], _names(nodes))
    if pattern.startswith("from:"):
        return _between(model, pattern)
    found = [n.name for n in nodes if fnmatchcase(n.name, pattern) or n.name == pattern]
    return found or _nothing("node", pattern, _names(nodes))


def _names(nodes: Iterable[gs.Node]) -> list[str]:
    return [n.name for n in nodes]


def _nothing(kind: str, name: str, known: Iterable[str]) -> list[str]:
    raise UnknownNameError(kind, name, known)


def _between(model: Model, pattern: str) -> list[str]:
    match = re.fullmatch(r"from:(.+),to:(.+)", pattern)
    if match is None:
        raise OptionError(f"pattern '{pattern}' is no region", hint="from:TENSOR,to:TENSOR")
    import networkx as nx

    graph: nx.DiGraph[tuple[str, str]] = nx.DiGraph()
    for node in model.nodes():
        graph.add_node(("node", node.name))
        graph.add_edges_from((("tensor", t.name), ("node", node.name)) for t in node.inputs)
        graph.add_edges_from((("node", node.name), ("tensor", t.name)) for t in node.outputs)
    ends = []
    for name in match.groups():
        places = [(kind, name.strip()) for kind in ("node", "tensor")]
        inside = [place for place in places if place in graph]
        if not inside:
            raise UnknownNameError("node or tensor", name, (n for _, n in graph))
        ends.append(inside)
    start, end = ends
    below = set().union(*(nx.descendants(graph, p) | {p} for p in start))
    above = set().union(*(nx.ancestors(graph, p) | {p} for p in end))
    region = {name for kind, name in below & above if kind == "node"}
    if not region:
        raise OptionError(
            f"pattern '{pattern}' matches no node",
            why=f"no path leads from '{match[1]}' to '{match[2]}'",
            hint="exchange the two ends, or name tensors on one path",
        )
    return [n.name for n in model.nodes() if n.name in region]
