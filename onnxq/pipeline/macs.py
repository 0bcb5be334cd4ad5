"""Multiply-accumulates of a node, for one run of the model on a sample."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import onnx_graphsurgeon as gs

from onnxq.pipeline.context import Context


def macs(node: gs.Node, ctx: Context) -> int | None:
    """Multiply-accumulates of *node*; 0 for operators without, None where shapes are not known.

    Conv: output elements · input channels per group · kernel elements. ConvTranspose: input
    elements · output channels per group · kernel elements. Gemm, MatMul: output elements · the
    length of the dimension that is summed over. RNN, GRU, LSTM: steps · batch · all weights.
    """
    shapes = [None if t.is_empty() else ctx.shape(t) for t in node.inputs[:3]]
    out = ctx.shape(node.outputs[0])
    if node.op == "Conv":
        return _times(out, shapes[1], 1)
    if node.op == "ConvTranspose":
        return _times(shapes[0], shapes[1], 1)
    if node.op in ("Gemm", "MatMul"):
        a = shapes[0]
        axis = 0 if node.attrs.get("transA", 0) else -1
        return _times(out, None if not a else (a[axis],), 0)
    if node.op in ("RNN", "GRU", "LSTM"):
        steps = None if not shapes[0] else shapes[0][:2]
        if shapes[1] is None or shapes[2] is None:
            return None
        weights = prod(_known(shapes[1])) + prod(_known(shapes[2]))
        return _times(steps, (weights,), 0)
    return 0


def _known(shape: Sequence[int | None]) -> list[int]:
    return [d or 1 for d in shape]


def _times(a: Sequence[int | None] | None, b: Sequence[int | None] | None, skip: int) -> int | None:
    """Elements of *a* times those of *b* without its first *skip* dimensions."""
    if a is None or b is None or None in a or None in b:
        return None
    return int(prod(_known(a)) * prod(_known(b[skip:])))
