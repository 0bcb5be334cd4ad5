"""What became of each node of a model in the graph that ONNX Runtime really runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import onnx

from onnxq.graph.bodies import CONTROL, subgraphs
from onnxq.report.groups import DEQUANTIZE, QUANTIZE
from onnxq.report.nodes import Graph
from onnxq.runtime.coverage import kernels_in
from onnxq.runtime.origins import origins

Kind = Literal["integer", "around", "float", "removed", "conversion", "constant", "control"]
#: Operators that only turn floats into codes or back.
CONVERSIONS = frozenset({QUANTIZE, DEQUANTIZE, "DynamicQuantizeLinear"})


@dataclass(frozen=True)
class Outcome:
    """What a node became.

    Attributes:
        node, op_type: the node.
        kind: ``integer``: an integer kernel, or part of one. ``around``: float between Q and DQ,
            which costs without gain. ``float``. ``removed``: nothing is left of it.
            ``conversion``: a Q or DQ. ``constant``: computed once, when the model is loaded.
            ``control``: it runs bodies, whose nodes have outcomes of their own.
        runs_as: the operator that runs, or ``part of 'NODE'``; "" where none does.
        macs: multiply-accumulates, of one step of a body; None where they are not known.
        body: which body it is in; "" for the main graph.
    """

    node: str
    op_type: str
    kind: Kind
    runs_as: str
    macs: int | None
    body: str = ""


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """*model* with names for its nodes that are unique in each graph: a copy where it needs any.

    A node without a name is called by its operator and its first output.
    """
    if all(map(_has_names, _graphs(model.graph))):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph in _graphs(copy.graph):
        if not _has_names(graph):
            _name(graph)
    return copy


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _graphs(inner)


def _has_names(graph: onnx.GraphProto) -> bool:
    names = [n.name for n in graph.node]
    return all(names) and len(set(names)) == len(names)


def _name(graph: onnx.GraphProto) -> None:
    taken = {n.name for n in graph.node}
    seen: set[str] = set()
    for node in graph.node:
        if not node.name or node.name in seen:
            base = node.name or f"{node.op_type}:{node.output[0] if node.output else ''}"
            fresh, count = base, 1
            while fresh in taken:
                fresh, count = f"{base}_{count}", count + 1
            node.name = fresh
            taken.add(fresh)
        seen.add(node.name)


def became(model: onnx.GraphProto, optimized: onnx.GraphProto) -> dict[str, str]:
    """Operators of the *optimized* graph by the name of the node of *model* that each was."""
    names = origins(model, optimized)
    return {names[n.name]: n.op_type for n in optimized.node if n.name in names}


def outcomes(
    graph: Graph,
    model: onnx.GraphProto,
    optimized: onnx.GraphProto,
    around: set[str],
    macs: Mapping[str, int | None],
    body: str = "",
) -> list[Outcome]:
    """What each node of *model*, which is the *body* of that name, became, in order.

    *around* are names of nodes that read dequantized codes and could have been integer kernels.
    """
    integer = kernels_in(model, optimized)
    left = became(model, optimized)
    absorbed = _absorbed(graph, {*left, *integer})
    found = []
    for node in model.node:
        name, cost = node.name, macs.get(node.name, 0)
        kind: Kind
        runs_as = integer.get(name) or left.get(name, "")
        if node.op_type in CONVERSIONS:
            kind = "conversion"
        elif node.op_type in CONTROL:
            kind, runs_as = "control", ""
        elif node.output and all(graph.constant(o) for o in node.output if o):
            kind, runs_as = "constant", ""
        elif name in integer:
            kind = "integer"
        elif name in absorbed:
            kind = "integer" if absorbed[name] in integer else "float"
            runs_as = f"part of '{absorbed[name]}'"
        elif name in around:
            kind = "around"
        elif name in left or cost:
            kind = "float"
        else:
            kind = "removed"
        found.append(Outcome(name, node.op_type, kind, runs_as, cost, body))
    return found


def _absorbed(graph: Graph, left: set[str]) -> dict[str, str]:
    """Nodes that are gone, with the node whose kernel computes them.

    A Relu behind a kernel belongs to it; so does what was computed for it alone, such as the parts
    of a LayerNormalization, of which the last one stands for all.
    """
    found: dict[str, str] = {}
    for node in graph.nodes:
        if node.name in left or node.op_type in CONVERSIONS:
            continue
        above = graph.producer.get(node.input[0]) if node.input else None
        if above is not None and above.op_type not in CONVERSIONS:
            owner = found.get(above.name, above.name)
            if owner in left:
                found[node.name] = owner
    for node in reversed(graph.nodes):
        if node.name in left or node.name in found or node.op_type in CONVERSIONS:
            continue
        users = [u for o in node.output for u in graph.users.get(o, [])]
        owners = {found.get(u.name, u.name) for u in users}
        if len(owners) == 1 and (owner := owners.pop()) in left:
            found[node.name] = owner
    return found
