"""What the planning of weights asks of a constant."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnxq.graph import Model
from onnxq.pipeline import Context
from onnxq.pipeline.weight_sites import SITES


def candidates(model: Model, ctx: Context) -> list[gs.Node]:
    """Nodes of all graphs that may have weights and are not planned; others get their reason."""
    found = []
    for node in model.nodes():
        if node.op not in SITES or node.name in ctx.plan.nodes:
            continue
        if node.name in ctx.plan.excluded:
            ctx.plan.keep_float(node.name, ctx.plan.excluded[node.name])
        elif not node.name:
            ctx.decline(node, "it has no name: 'name-nodes' gives one")
        else:
            found.append(node)
    return found


def size_of(tensor: gs.Tensor) -> int:
    """Values of a constant."""
    size = 1
    for d in tensor.shape:
        size *= int(d)
    return size
