"""What the planning of weights asks of a constant, and how it is stored."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnxq.graph import Model
from onnxq.pipeline import Context
from onnxq.pipeline.weight_sites import SITES
from onnxq.quant import DType, PerBlock, QuantSpec, dtype
from onnxq.targets import Target


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


def stored_spec(kind: DType, run: PerBlock, target: Target, *, symmetric: bool) -> QuantSpec:
    """How a weight is stored in the bits of *kind*, in blocks of *run*.

    Integers without a zero point are signed, others unsigned. Where *target* takes scales below
    zero, the code that has no counterpart stands for the side that reaches further: 4 bits have
    -8 … 7, 2 bits -2 … 1. Wider codes do without that one.
    """
    if kind.floating:
        return QuantSpec(dtype=kind, granularity=run, symmetric=True)
    chosen = dtype(f"int{kind.bits}" if symmetric else f"uint{kind.bits}")
    wide = chosen.bits >= 8
    return QuantSpec(
        dtype=chosen, granularity=run, symmetric=symmetric, narrow_range=wide and symmetric,
        signed_scale=symmetric and not wide and target.signed_scales,
    )  # fmt: skip


def size_of(tensor: gs.Tensor) -> int:
    """Values of a constant."""
    size = 1
    for d in tensor.shape:
        size *= int(d)
    return size
