"""move-codes: let operators that only move data do so on codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, constant_value, consumers, producer, remove_node, replace_input
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.kernel_plan import computes_in_float


@dataclass(frozen=True, kw_only=True)
class MoveCodes(Pass):
    """Let operators that only move data do so on codes.

    What it does
        Between a DequantizeLinear and a QuantizeLinear of the same scale and zero point, moving
        values is moving codes::

            Quantize(Move(Dequantize(q)))  =  Move(q)

        A Pad then puts in the zero point, which stands for 0.

    Why
        ONNX Runtime takes Q and DQ away by itself around Reshape, Slice, Transpose and others, not
        around Pad and SpaceToDepth: these would compute in float, on four times the bytes, with
        a conversion on either side.

    Example
        ``insert-qdq,move-codes``

    When it declines
        Scales differ, something else reads the tensor in between, the target does not say of the
        operator that it is to run on codes, or codes are wider than its kernels read.

    Numerics
        Exact.

    Source
        ONNX operators Pad-13 and SpaceToDepth-13, which take bytes.
    """

    name: ClassVar[str] = "move-codes"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    def run(self, model: Model, ctx: Context) -> None:
        for node in _moving(model, ctx):
            _move(model, node)


def moves_codes(model: Model, ctx: Context) -> bool:
    """Whether there is anything for the pass to look at."""
    return bool(_moving(model, ctx))


def _moving(model: Model, ctx: Context) -> list[gs.Node]:
    """The planned nodes that the target runs on codes."""
    if computes_in_float(ctx):
        return []
    on_codes = {op for op, rule in ctx.target.rules.items() if rule.on_codes}
    return [n for n in model.graph.nodes if n.op in on_codes and n.name in ctx.plan.nodes]


def _move(model: Model, node: gs.Node) -> None:
    """Let *node* read and write codes, where it stands between the same Q and DQ."""
    before, uses = producer(node.inputs[0]), consumers(node.outputs[0])
    if before is None or before.op != "DequantizeLinear" or model.is_output(node.outputs[0]):
        return
    if len(uses) != 1 or uses[0][0].op != "QuantizeLinear":
        return
    after = uses[0][0]
    if not _same(before, after):
        return
    if node.op == "Pad":
        replace_input(node, 2, before.inputs[2])
    replace_input(node, 0, before.inputs[0])
    codes = after.outputs[0]
    remove_node(model, after)
    node.outputs[0] = codes
    if not consumers(before.outputs[0]) and not model.is_output(before.outputs[0]):
        remove_node(model, before)


def _same(one: gs.Node, other: gs.Node) -> bool:
    """Whether two conversions have the same stored scale and zero point."""
    for index in (1, 2):
        a, b = constant_value(one.inputs[index]), constant_value(other.inputs[index])
        if a is None or b is None or not np.array_equal(a, b):
            return False
    return True
