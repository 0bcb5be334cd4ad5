"""The pass ``fuse-matmul-add``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, constant_value, replace_input
from onnxq.passes._scope import Scope, is_standard
from onnxq.passes.fuse._affine import per_channel
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class FuseMatMulAdd(Pass):
    """Join MatMul and the Add of a bias to one Gemm, where the input is a matrix.

    What it does:
        With a stored weight W [K, N] and a stored bias b (one value for each column, or one)::

            MatMul(x, W) + b  =  Gemm(x, W, b)          x: [M, K]

        The bias is stored as [N].

    Why:
        The bias of an integer Gemm is added in the int32 accumulator; an Add of its own is
        another integer kernel with another rounding.

    Example:
        ``t = MatMul(x, w)  y = Add(t, b)``  becomes  ``y = Gemm(x, w, b)``.

    When it declines:
        The input is not known to be a matrix (Gemm takes nothing else: MatMul and Add stay); the
        product is read elsewhere or is an output of the graph; the bias differs from row to row.

    Numerics:
        The same sum; the order of its terms is up to the kernel.

    Source:
        ONNX operator specifications, MatMul and Gemm.
    """

    name: ClassVar[str] = "fuse-matmul-add"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 1e-5

    def run(self, model: Model, ctx: Context) -> None:
        """Join every pair that can be."""
        scope = Scope(model)
        for node in scope.sites("Add"):
            for index in (0, 1):
                above, bias = scope.above(node, index), constant_value(node.inputs[1 - index])
                if above is None or above.op != "MatMul" or not is_standard(above) or bias is None:
                    continue
                weight = constant_value(above.inputs[1])
                if weight is None or weight.ndim != 2 or weight.dtype.kind != "f":
                    continue
                reason = _join(scope, above, node, index, ctx)
                if reason:
                    ctx.decline(node, reason)
                break


def _join(scope: Scope, above: gs.Node, node: gs.Node, index: int, ctx: Context) -> str:
    product, rank = node.inputs[index], ctx.rank(above.inputs[0])
    if rank != 2:
        return (
            f"the input of '{above.name}' has {'no known rank' if rank is None else f'rank {rank}'}"
            ", and Gemm takes matrices: MatMul and Add stay"
        )
    others = scope.others(product, node)
    if others:
        return f"'{product.name}' between '{above.name}' and it is {others}"
    stored = constant_value(node.inputs[1 - index])
    width = int(above.inputs[1].shape[1])
    bias = per_channel(np.asarray(stored, dtype=np.float64), 2, 1, width)
    if stored is None or bias is None:
        return "its constant is not one value for each column, so it is no bias"
    constant = scope.set_constant(node, 1 - index, bias.astype(stored.dtype))
    above.op = "Gemm"
    scope.absorb(node, above)
    replace_input(above, 2, constant)
    return ""
