"""lift-fake-quantization: take the rounding of activations out of the graph, and note its grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxq.graph import Model, constant_value, consumers, is_constant
from onnxq.passes._fake_qdq import (
    FakePair,
    fake_pair,
    remove_pair,
    trained_grid,
    why_apart,
)
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class LiftFakeQuantization(Pass):
    """Take fake quantization out of the graph; the plan puts it back as integers.

    What it does
        Every QuantizeLinear and DequantizeLinear of one grid (with a Clip of codes between them or
        without) on an activation is removed, and its grid is noted by the name of the tensor.

    Why
        Planning sees the layers as in a float model, and gives each tensor the grid that training
        has chosen for it. Until here the pairs kept passes from fusing across them.

    Example
        ``Conv → QuantizeLinear → DequantizeLinear → Conv``  becomes  ``Conv → Conv``

    When it declines
        A grid for each channel of an activation, or of more than 8 bits: no kernel reads it. A
        tensor that is rounded to two grids, one after the other, keeps the second pair. Where codes
        themselves are read, the pair stays, too. Layers beside what stays are kept in float.

    Numerics
        The model computes without rounding behind it, until integers are put in.

    Source
        ONNX operators QuantizeLinear and DequantizeLinear.
    """

    name: ClassVar[str] = "lift-fake-quantization"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = None

    def run(self, model: Model, ctx: Context) -> None:
        for node in list(model.graph.nodes):
            if node.op == "DequantizeLinear" and node.outputs:
                found = fake_pair(node, constant_value)
                reason = found if isinstance(found, str) else _lift(model, found, ctx)
                if reason:
                    ctx.decline(node, reason)
        known = ctx.trained.apart
        for node in model.graph.nodes:
            left = {"QuantizeLinear": node.inputs, "DequantizeLinear": node.outputs}.get(node.op)
            if left and left[0].name not in ctx.trained.activations and not is_constant(left[0]):
                known.setdefault(left[0].name, "codes that are no fake quantization")
        for node in model.graph.nodes:
            beside = [t.name for t in (*node.inputs, *node.outputs) if t.name in known]
            if beside and node.op not in ("QuantizeLinear", "DequantizeLinear"):
                ctx.plan.excluded.setdefault(
                    node.name, f"training rounded '{beside[0]}' to {known[beside[0]]}"
                )


def _lift(model: Model, found: FakePair, ctx: Context) -> str:
    """Remove the nodes of *found*; or say why they stay."""
    source, trained = found.source, ctx.trained
    result = found.nodes[-1].outputs[0]
    reason = why_apart(found)
    reads = [user for user, _ in consumers(found.nodes[0].outputs[0])]
    if not reason and any(u.op not in ("Clip", "Min", "Max", "DequantizeLinear") for u in reads):
        reason = "codes that something else reads"
    if reason:
        trained.apart |= {source.name: reason, result.name: reason}
        return f"it rounds '{source.name}' to {reason}"
    grid = trained_grid(found)
    before = trained.activations.get(source.name)
    if before is not None and before.steps != grid.steps:
        trained.activations[result.name] = grid
        ctx.journal.warn(
            f"'{source.name}' is rounded to two grids in training: for "
            f"'{result.name}' both are kept, one after the other"
        )
        return f"'{source.name}' has another grid already"
    exact = [f"by '{u.name}'" for u, _ in consumers(source) if u.op != "QuantizeLinear"]
    exact += ["as an output"] if model.is_output(source) and not model.is_output(result) else []
    trained.activations.pop(source.name, None)
    remove_pair(model, found)  # an output's name goes to the tensor that becomes it
    trained.activations[source.name] = grid
    if exact and before is None:
        ctx.journal.warn(
            f"'{source.name}' is read without rounding {exact[0]} in training; its codes are read "
            "there now"
        )
    return ""
