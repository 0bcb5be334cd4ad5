"""Multiply-accumulates of the nodes of any model and its bodies, quantized ones included."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import onnx

from onnxq.calibrate.bodies import first_steps, typed
from onnxq.calibrate.random_data import random_data
from onnxq.calibrate.sources import Feed
from onnxq.errors import OnnxqError
from onnxq.graph import Model
from onnxq.graph.bodies import Body, subgraphs
from onnxq.pipeline import Context, TensorFact
from onnxq.pipeline.macs import macs
from onnxq.report.inspection import stated_facts
from onnxq.report.skeleton import COMPUTE, class_of, op_class
from onnxq.runtime.probe import probe
from onnxq.runtime.session import Session
from onnxq.targets import get_target

#: Operators in integers: the operator that they stand for, and which inputs are its operands.
_OPERANDS = {
    "QLinearConv": ("Conv", (0, 3)), "QLinearMatMul": ("MatMul", (0, 3)),
    "QGemm": ("Gemm", (0, 3)), "FusedConv": ("Conv", (0, 1)),
    "FusedMatMul": ("MatMul", (0, 1)), "FusedGemm": ("Gemm", (0, 1)),
}  # fmt: skip


Costs = dict[str, int | None]


def costs(proto: onnx.ModelProto, feed: Feed | None = None) -> Costs:
    """Multiply-accumulates by node name, for a batch of one; None where shapes are not known.

    Shapes are those that the file states; where these do not suffice, the model is run once on
    *feed*, by default on random numbers.
    """
    model, ctx = _context(proto)
    found = _costs(model, ctx)
    if any(cost is None for cost in found.values()):
        ctx.facts |= _measured(model, random_feed(proto) if feed is None else feed)
        found = _costs(model, ctx)
    return found


def body_costs(
    model: onnx.ModelProto, found: Sequence[Body], feed: Feed | None
) -> Iterator[tuple[onnx.ModelProto, Feed | None, Costs]]:
    """For each of the bodies *found*, all of one node of *model*: its model, a feed, its costs.

    Costs are those of one step. The feed is what the body reads first when *model* is run on
    *feed*; None where that is not known.
    """
    steps: dict[str, Feed] = {}
    if feed is not None and any(computes(body.model.graph) for body in found):
        with contextlib.suppress(OnnxqError):  # nothing more is known then
            steps = first_steps(model, found, feed)
    for body in found:
        if not computes(body.model.graph):
            yield body.model, None, {}
            continue
        step = steps.get(body.attribute)
        try:
            alone = typed(body, model, step)
        except OnnxqError:  # a branch that cannot run on this step
            alone, step = body.model, None
        inside, ctx = _context(alone)
        if step is not None and None in _costs(inside, ctx).values():
            ctx.facts |= _measured(inside, step)
        yield alone, step, _costs(inside, ctx)


def computes(graph: onnx.GraphProto) -> bool:
    """Whether there are multiply-accumulates in *graph*, or in the graphs in it."""
    return any(class_of(n.op_type) in COMPUTE for n in graph.node) or computes_inside(graph)


def computes_inside(graph: onnx.GraphProto) -> bool:
    """Whether there are multiply-accumulates in the graphs in *graph*."""
    return any(computes(inner) for node in graph.node for inner in subgraphs(node))


def random_feed(model: onnx.ModelProto) -> Feed | None:
    """A sample of random numbers; None where none can be made up for *model*."""
    try:
        return random_data(Session(model, optimize=False).inputs, samples=1).first()
    except OnnxqError:
        return None


def _context(proto: onnx.ModelProto) -> tuple[Model, Context]:
    """*proto* and a context that knows what shapes the file states."""
    model = Model.load(proto)
    ctx = Context(target=get_target("generic"))
    ctx.facts = stated_facts(model)
    return model, ctx


def _costs(model: Model, ctx: Context) -> Costs:
    return {n.name: macs(_like(n), ctx) for n in model.graph.nodes if n.outputs}


def _like(node: Any) -> Any:
    """*node* as the float operator that it stands for."""
    op, places = _OPERANDS.get(node.op, (op_class(node), None))
    inputs = node.inputs
    if places is not None and len(inputs) > max(places):
        inputs = [inputs[i] for i in places]
    return SimpleNamespace(op=op, inputs=inputs, outputs=node.outputs, attrs=node.attrs)


def _measured(model: Model, feed: Feed | None) -> dict[str, TensorFact]:
    """Types and shapes of a run on *feed*; nothing where there cannot be one."""
    try:
        found = {} if feed is None else probe(model, feed)
    except OnnxqError:
        return {}
    return {name: TensorFact(info.dtype, info.shape) for name, info in found.items()}
