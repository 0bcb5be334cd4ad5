"""to-qoperator: operators on codes in place of Q/DQ around float ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.errors import OptionError
from onnxq.graph import Model, consumers, remove_node
from onnxq.passes.emit._products import gemm, matmul
from onnxq.passes.emit._qlinear import (
    Left,
    Rewriter,
    clamped,
    concat,
    conv,
    move,
    reads_codes,
    same_operator,
)
from onnxq.pipeline import Context, Pass, Stage

_MOVES = (
    "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Reshape",
    "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
_SAME = (
    "Add", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Mul", "Sigmoid", "Softmax",
)  # fmt: skip

REWRITES: dict[str, Callable[[Rewriter, gs.Node], None]] = {
    "Conv": conv, "MatMul": matmul, "Gemm": gemm, "Concat": concat, "Relu": clamped,
    "Clip": clamped, **dict.fromkeys(_MOVES, move),
    **{op: same_operator(f"QLinear{op}") for op in _SAME},
}  # fmt: skip
"""By operator, what puts an operator on codes in its place."""


@dataclass(frozen=True, kw_only=True)
class ToQoperator(Pass):
    """Compute on codes, with no float tensor between layers.

    What it does
        DequantizeLinear, operator, QuantizeLinear become one operator that reads and writes
        codes: QLinearConv, QLinearMatMul, and ONNX Runtime's own QGemm, QLinearAdd, QLinearMul,
        QLinearConcat, QLinearAveragePool, QLinearGlobalAveragePool, QLinearSigmoid,
        QLinearLeakyRelu, QLinearSoftmax. MaxPool, Reshape, Transpose and others that only move
        values, and Concat of equal scales, run on codes themselves; a Relu or Clip in front of a
        QuantizeLinear becomes a Clip of codes. Tensors of codes keep their names.

    Why
        The file says itself what runs on integers, without a fusion that a runtime may or may not
        do; it is smaller, and loads faster.

    Example
        ``insert-qdq,to-qoperator{domains=standard}``

    When it declines
        An operator that has no form on codes, codes of other types than int8 and uint8, scales
        that are computed, and results that are read in float as well. The node stays between Q and
        DQ.

    Numerics
        The operators are those that ONNX Runtime makes of Q/DQ groups: the same codes. A product
        whose result stays in float rounds that result in another order.

    Source
        ONNX operators QLinearConv-10, QLinearMatMul-10, MatMulInteger-10; ONNX Runtime's
        ContribOperators.md.

    Attributes:
        domains: ``microsoft``: operators of ONNX and of com.microsoft; ``standard``: of ONNX alone.
    """

    name: ClassVar[str] = "to-qoperator"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    domains: str = "microsoft"

    def __post_init__(self) -> None:
        if self.domains not in ("microsoft", "standard"):
            raise OptionError(
                f"to-qoperator: no domains '{self.domains}'", hint="microsoft or standard"
            )

    def run(self, model: Model, ctx: Context) -> None:
        rewriter = Rewriter(model, self.domains == "microsoft")
        for node in list(model.graph.nodes):
            if not node.outputs or node.domain or not reads_codes(node):
                continue
            if node.op in ("QuantizeLinear", "DequantizeLinear"):
                continue
            rewrite = REWRITES.get(node.op)
            if rewrite is None:
                ctx.decline(node, f"there is no operator on codes for {node.op}")
                continue
            try:
                rewrite(rewriter, node)
            except Left as reason:
                ctx.decline(node, str(reason))
        unused = ("DequantizeLinear", "Cast")  # in this order: what widened its codes
        for op in unused:
            for node in list(model.graph.nodes):
                result = node.outputs[0] if node.outputs else None
                unread = result is not None and not consumers(result)
                if node.op == op and unread and not model.is_output(result):
                    remove_node(model, node)
