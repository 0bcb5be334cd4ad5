"""The graphs of a model, each beside what ONNX Runtime made of it: the main graph, and bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import onnx
from onnx import ModelProto

from onnxq.calibrate.sources import Feed
from onnxq.graph.bodies import Body, bodies, subgraphs
from onnxq.report.coverage.costs import body_costs


@dataclass(frozen=True)
class Scope:
    """A graph.

    Attributes:
        where: which body it is; "" for the main graph.
        model: the graph as a model of its own.
        run: what ONNX Runtime made of it, likewise.
        macs: multiply-accumulates by node name, of one step; None where they are not known.
    """

    where: str
    model: ModelProto
    run: ModelProto
    macs: Mapping[str, int | None]


def inner_scopes(around: Scope, feed: Feed | None) -> Iterator[Scope]:
    """The bodies of If, Loop and Scan in *around*, and those in them, in order.

    Where sizes do not follow from the file, costs are those of a run on *feed*, if there is one.
    """
    # by name: what an inlined body ends in computes the tensor of the If, and may be an If itself
    runs = {(b.node, b.attribute): b.model for b in bodies(around.run)}
    for node, group in groupby(bodies(around.model), lambda body: body.node):
        found = list(group)
        computed = body_costs(around.model, found, feed)
        for body, (alone, step, known) in zip(found, computed, strict=True):
            where = body.where + (f" in {around.where}" if around.where else "")
            run = runs.get((node, body.attribute))
            if run is None:
                run = _inlined(around.run, around.model, body)
            scope = Scope(where, alone, run, known if run.graph.node else {})
            yield scope
            yield from inner_scopes(scope, step)


def _inlined(run: ModelProto, model: ModelProto, body: Body) -> ModelProto:
    """Of *run*, what *body* became, with the names that *body* has for tensors.

    Of an If whose condition is stored, ONNX Runtime puts one branch in the place of the node: names
    of its nodes and tensors have a prefix then, its results the names of the If's; now and then the
    If's own name is left out of it. Of the other nothing is left.
    """
    node = next(n for n in model.graph.node if n.name == body.node)
    results = dict(zip(node.output, (o.name for o in body.model.graph.output), strict=False))
    prefixes = tuple(f"_{name}_{body.attribute}_" for name in (node.name, "if"))
    own = {o for n in body.model.graph.node for o in n.output}

    def plain(name: str) -> str:
        name = results.get(name, name)
        return name.removeprefix(prefixes[0]).removeprefix(prefixes[1])

    found = ModelProto()
    found.CopyFrom(run)
    kept = [
        n
        for n in run.graph.node
        if n.name.startswith(prefixes[0])
        or (n.name.startswith(prefixes[1]) and own & {plain(o) for o in n.output})
    ]
    del found.graph.node[:]
    found.graph.node.extend(kept)
    for one in found.graph.node:
        for names in (one.input, one.output):
            names[:] = [plain(n) for n in names]
    return found


def count_inner(graph: onnx.GraphProto) -> int:
    """How many nodes the sub-graphs of *graph* have."""
    return sum(
        len(inner.node) + count_inner(inner) for node in graph.node for inner in subgraphs(node)
    )
