"""Casts at the boundary of a model whose inside computes in float32."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers, insert_node, producer, replace_input
from onnxq.passes._scope import is_standard
from onnxq.passes.canonical._float16 import SINGLE


def widen_source(model: Model, tensor: gs.Tensor) -> None:
    """Let what reads the input, or the constant that is an output, *tensor* read it in float32."""
    uses = [(n, i) for n, i in consumers(tensor) if not (n.op == "Cast" and is_standard(n))]
    slots = inner_outputs(model, tensor)
    if not uses and not slots:
        return
    name = model.unique_name(f"{tensor.name}__float32")
    if isinstance(tensor, gs.Constant):
        wide = gs.Constant(name, np.asarray(tensor.values).astype(np.float32))
    else:
        wide = gs.Variable(name, np.dtype(np.float32), tensor.shape)
        cast = model.unique_name(f"{tensor.name}__widen")
        insert_node(model, "Cast", [tensor], [wide], {"to": SINGLE}, name=cast)
    _repoint(uses, slots, wide)


def widen_output(model: Model, tensor: gs.Tensor, kind: int) -> None:
    """Compute the output *tensor* in float32 and cast it to the element type *kind*."""
    above = producer(tensor)
    if above is None:
        return
    name = model.unique_name(f"{tensor.name}__float32")
    wide = gs.Variable(name, np.dtype(np.float32), tensor.shape)
    uses, slots = consumers(tensor), inner_outputs(model, tensor)
    above.outputs[next(i for i, t in enumerate(above.outputs) if t is tensor)] = wide
    _repoint(uses, slots, wide)
    cast = model.unique_name(f"{tensor.name}__narrow")
    insert_node(model, "Cast", [wide], [tensor], {"to": kind}, name=cast)


def inner_outputs(model: Model, tensor: gs.Tensor) -> list[tuple[gs.Graph, int]]:
    """Where a sub-graph gives out *tensor*."""
    inner = [g for g in model.graphs() if g is not model.graph]
    return [(g, i) for g in inner for i, t in enumerate(g.outputs) if t is tensor]


def _repoint(
    uses: list[tuple[gs.Node, int]], slots: list[tuple[gs.Graph, int]], wide: gs.Tensor
) -> None:
    for node, index in uses:
        replace_input(node, index, wide)
    for graph, index in slots:
        graph.outputs[index] = wide
