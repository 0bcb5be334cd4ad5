"""align-joins: one scale for all inputs of a join, where the hardware only copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model, is_constant
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import QuantSpec, Shared


@dataclass(frozen=True, kw_only=True)
class AlignJoins(Pass):
    """Give the inputs of a join the scale of its output.

    What it does
        For every planned node of a kind that the target wants aligned (Concat, for all targets
        without floating point), each input shares the scale of the output, whatever else reads
        it. The scale is chosen from the range of the whole.

    Why
        Inputs of one exponent are joined by copying bytes. With exponents of their own each would
        be shifted and rounded again, which costs a pass over the data and half a step.

    Example
        ``plan-kernels,align-joins``: ``Concat(a, b)``, where a Conv reads ``a`` too, gives ``a``,
        ``b`` and the result one exponent.

    When it declines
        Targets that have floating point. Constants keep a scale of their own. Sums need no common
        scale: their accumulator aligns the operands by shifts to the left, which are exact.

    Numerics
        The narrower inputs get the step of the widest.

    Source
        PPQ's quantization alignment, "Align to Output" (its public documentation).
    """

    name: ClassVar[str] = "align-joins"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        if ctx.target.integer is None:
            return
        for node in model.graph.nodes:
            if node.op in ctx.target.integer.aligned and node.name in ctx.plan.nodes:
                _align(node, ctx)


def _align(node: gs.Node, ctx: Context) -> None:
    tensors, out = ctx.plan.tensors, node.outputs[0].name
    for tensor in node.inputs:
        if is_constant(tensor):
            ctx.decline(node, f"'{tensor.name}' is a constant: it has a scale of its own")
            continue
        root = tensor.name
        while isinstance(shared := tensors.get(root), Shared) and shared.with_ != out:
            root = shared.with_
        if isinstance(tensors.get(root), QuantSpec):
            tensors[root] = Shared(out)
