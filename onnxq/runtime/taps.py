"""Taps: extra outputs that show intermediate tensors of a model, whole or reduced in the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxq.errors import UnknownNameError, UnsupportedModelError
from onnxq.graph.bodies import subgraphs
from onnxq.runtime.types import FLOATS, element_types

#: Reductions of one tap, in this order. ONNX Runtime's minimum and maximum skip NaN; the sum
#: does not, so that a finite sum vouches for every value.
REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceSum")
PREFIX = "onnxq_tap__"
FLAT, EXTREMES = f"{PREFIX}flat_shape", f"{PREFIX}extremes"


def computed(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Tensors that nodes of the main graph compute, with the node, in order."""
    return {o: n for n in model.graph.node for o in n.output if o}


def check_taps(model: onnx.ModelProto, names: Iterable[str]) -> None:
    """Raise where one of *names* cannot be tapped.

    Raises:
        UnknownNameError: there is no such tensor.
        UnsupportedModelError: it is a constant, lies in a sub-graph, or is not floating point.
    """
    graph = model.graph
    inputs = {i.name for i in graph.input}
    found = computed(model)
    constants = {i.name for i in graph.initializer}
    names = list(names)
    for name in names:
        if name in constants and name not in inputs:
            raise UnsupportedModelError(f"tensor '{name}' is a constant: nothing to measure")
        if name not in found and name not in inputs:
            if name in _inner(graph):
                raise UnsupportedModelError(
                    f"tensor '{name}' lies in a sub-graph (If, Loop or Scan)",
                    why="calibration measures tensors of the main graph only",
                    hint="leave the nodes of the sub-graph in float",
                )
            raise UnknownNameError("tensor", name, [*found, *inputs])
    for name, kind in element_types(model, names).items():
        if kind not in FLOATS:
            raise UnsupportedModelError(
                f"tensor '{name}' holds {TensorProto.DataType.Name(kind).lower()}, not floats",
                hint="plan floating-point tensors only",
            )


def tap_arrays(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """Make the tensors *names* outputs of *model*, in place; ONNX Runtime infers their types."""
    there = {o.name for o in model.graph.output} | {i.name for i in model.graph.input}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in there)
    return model


def tap_reduced(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Make minimum, maximum and sum of the tensors *names* the output ``EXTREMES``, in place.

    It is float32 [3 · tensors], the three of the first tensor first: one output, because each one
    more costs its share of every run. Other outputs stay. Values are cast to float32 first (ONNX
    Runtime drops a cast that does nothing) and made flat, for Concat takes no scalars.
    """
    graph, parts = model.graph, []
    flat_shape = numpy_helper.from_array(np.array([-1], np.int64))
    graph.node.append(helper.make_node("Constant", [], [FLAT], FLAT, value=flat_shape))
    for name in names:
        cast, flat = f"{PREFIX}cast__{name}", f"{PREFIX}flat__{name}"
        graph.node.append(helper.make_node("Cast", [name], [cast], cast, to=TensorProto.FLOAT))
        graph.node.append(helper.make_node("Reshape", [cast, FLAT], [flat], flat))
        for op in REDUCTIONS:
            part = f"{PREFIX}{op}__{name}"
            graph.node.append(helper.make_node(op, [flat], [part], part, keepdims=1))
            parts.append(part)
    graph.node.append(helper.make_node("Concat", parts, [EXTREMES], EXTREMES, axis=0))
    graph.output.append(helper.make_tensor_value_info(EXTREMES, TensorProto.FLOAT, [len(parts)]))
    return model


def drop_outputs(model: onnx.ModelProto, keep: Sequence[str]) -> onnx.ModelProto:
    """Remove the outputs that are not in *keep*, in place: what only they need is not computed."""
    kept = [o for o in model.graph.output if o.name in set(keep)]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model


def _inner(graph: onnx.GraphProto) -> set[str]:
    """Names of all tensors that nodes of sub-graphs compute."""
    names: set[str] = set()
    for node in graph.node:
        for inner in subgraphs(node):
            names.update(o for n in inner.node for o in n.output)
            names |= _inner(inner)
    return names
