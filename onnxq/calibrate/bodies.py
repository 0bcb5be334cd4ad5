"""What the bodies of If, Loop and Scan read on the samples of the model around them.

The node is run step by step, outside its graph: the model is asked for what the node and its
bodies read, and the body, a model of its own, runs as often as the node would run it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TypeProto, helper, numpy_helper

from onnxq.calibrate.sources import Feed
from onnxq.graph.bodies import Body
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session
from onnxq.runtime.taps import drop_outputs, tap_arrays
from onnxq.runtime.types import inferred


def typed(body: Body, model: ModelProto, first: Feed | None) -> ModelProto:
    """The model of *body* with the types of its inputs and outputs: of *model*, and of a feed.

    Sizes, and names of free ones, are stated where onnx infers them; the *first* feed, where there
    is one, says types and ranks only, so that nothing that varies is taken for fixed.
    """
    known = inferred(model)
    result = ModelProto()
    result.CopyFrom(body.model)
    for value in result.graph.input:
        stated = known.get(value.name) if value.name in body.captured else value.type
        if first is None:
            value.type.CopyFrom(stated or value.type)
            continue
        array = first[value.name]
        sizes: list[int | str | None] = [None] * array.ndim
        if stated is not None and stated.tensor_type.HasField("shape"):
            dims = stated.tensor_type.shape.dim
            if len(dims) == array.ndim:
                sizes = [d.dim_value or d.dim_param or None for d in dims]
        value.type.CopyFrom(_tensor_type(array.dtype, sizes))
    loose = [o for o in result.graph.output if not o.type.tensor_type.HasField("shape")]
    if not loose:
        return result
    session = Session(result)
    shapes = {o.name: (o.dtype, o.shape) for o in session.outputs}
    if first is not None:
        found = session.run(first)
        shapes = {n: (x.dtype, (None,) * x.ndim) for n, x in found.items() if hasattr(x, "ndim")}
    for value in loose:
        dtype, shape = shapes.get(value.name, (None, None))
        if dtype is not None and shape is not None:
            value.type.CopyFrom(_tensor_type(dtype, shape))
    return result


def _tensor_type(dtype: np.dtype[Any], sizes: Sequence[int | str | None]) -> TypeProto:
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    made: TypeProto = helper.make_tensor_type_proto(kind, sizes)
    return made


def body_feeds(
    model: ModelProto,
    bodies: Sequence[Body],
    feeds: Iterable[Feed],
    most: int,
    providers: Sequence[Provider] = (),
) -> Iterator[tuple[Body, Feed]]:
    """What each of *bodies*, all of one node of *model*, is fed on *feeds*, in order.

    Of the steps that a Loop or Scan takes on one sample, *most*, spread evenly.

    Raises:
        UnsupportedModelError, DataError: ONNX Runtime cannot run the model or a body.
    """
    node = _node(model, bodies[0])
    steps = _Steps(bodies[0])
    for values in _reads(model, node, bodies, feeds, providers):
        if node.op_type == "If":
            chosen = "then_branch" if bool(np.all(values[node.input[0]])) else "else_branch"
            taken = next(b for b in bodies if b.attribute == chosen)
            yield taken, {n: values[n] for n in taken.captured}
            continue
        outer = {n: values[n] for n in steps.body.captured}
        run = _loop if node.op_type == "Loop" else _scan
        yield from ((steps.body, f) for f in _spread(run(node, steps, outer, values), most))


def first_steps(model: ModelProto, bodies: Sequence[Body], feed: Feed) -> dict[str, Feed]:
    """By attribute, what each of *bodies*, all of one node of *model*, reads first on *feed*.

    Both branches of an If have something to read, a body that is not run has not.

    Raises:
        UnsupportedModelError, DataError: ONNX Runtime cannot run the model.
    """
    node = _node(model, bodies[0])
    values = next(_reads(model, node, bodies, [feed], ()))
    if node.op_type == "If":
        return {b.attribute: {n: values[n] for n in b.captured} for b in bodies}
    (body,) = bodies
    run = _loop if node.op_type == "Loop" else _scan
    first = next(run(node, _Steps(body), {n: values[n] for n in body.captured}, values), None)
    return {} if first is None else {body.attribute: first}


def _node(model: ModelProto, body: Body) -> NodeProto:
    found: NodeProto = next(n for n in model.graph.node if n.name == body.node)
    return found


def _reads(
    model: ModelProto,
    node: NodeProto,
    bodies: Sequence[Body],
    feeds: Iterable[Feed],
    providers: Sequence[Provider],
) -> Iterator[Feed]:
    """What *node* and its *bodies* read of *model* on each of *feeds*, by name."""
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer
              if t.name in node.input}  # fmt: skip
    given = {i.name for i in model.graph.input}
    wanted = dict.fromkeys(n for b in bodies for n in (*node.input, *b.captured) if n)
    names = [n for n in wanted if n not in given and n not in stored]
    tapped = ModelProto()
    tapped.CopyFrom(model)
    session = Session(drop_outputs(tap_arrays(tapped, names), names), providers) if names else None
    for feed in feeds:
        found = {} if session is None else session.run(feed, names)
        yield {n: stored[n] if n in stored else found[n] if n in found else np.asarray(feed[n])
               for n in wanted}  # fmt: skip


def _spread(feeds: Iterable[Feed], most: int) -> list[Feed]:
    """At most *most* of *feeds*, evenly: every second one is dropped when there are more."""
    kept: list[Feed] = []
    stride = 1
    for step, feed in enumerate(feeds):
        if step % stride:
            continue
        kept.append(feed)
        if len(kept) > most:
            kept, stride = kept[::2], 2 * stride
    return kept


class _Steps:
    """The body of a Loop or Scan, run one step at a time; its session is made once."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.outputs = [o.name for o in body.model.graph.output]
        self._session: Session | None = None

    def run(self, feed: Feed, count: int) -> list[NDArray[Any]]:
        """The first *count* outputs for *feed*."""
        if self._session is None:
            self._session = Session(typed(self.body, ModelProto(), feed))
        found = self._session.run(feed, self.outputs[:count])
        return [found[n] for n in self.outputs[:count]]


def _loop(node: NodeProto, steps: _Steps, outer: Feed, values: Feed) -> Iterator[Feed]:
    """Feeds of a Loop's body: (iteration, condition, carried values …)."""
    most = values[node.input[0]] if node.input[0] else None
    going = bool(values[node.input[1]].all()) if len(node.input) > 1 and node.input[1] else True
    held = [values[n] for n in node.input[2:]]
    for step in count():
        if not going or (most is not None and step >= int(most.reshape(()))):
            return
        own = [np.array(step, np.int64), np.array(going), *held]
        feed = {**outer, **dict(zip(steps.body.own, own, strict=True))}
        yield feed
        on, *held = steps.run(feed, 1 + len(held))
        going = bool(on.all())


def _scan(node: NodeProto, steps: _Steps, outer: Feed, values: Feed) -> Iterator[Feed]:
    """Feeds of a Scan's body: (states …, one slice of each scanned input …)."""
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    scanned = int(attrs["num_scan_inputs"])
    split = len(node.input) - scanned
    held = [values[n] for n in node.input[:split]]
    axes = attrs.get("scan_input_axes", [0] * scanned)
    backward = attrs.get("scan_input_directions", [0] * scanned)
    stacks = [
        np.moveaxis(values[n], axis, 0)[:: -1 if back else 1]
        for n, axis, back in zip(node.input[split:], axes, backward, strict=True)
    ]
    for slices in zip(*stacks, strict=True):
        own = [*held, *(np.ascontiguousarray(s) for s in slices)]
        feed = {**outer, **dict(zip(steps.body.own, own, strict=True))}
        yield feed
        held = steps.run(feed, split)
