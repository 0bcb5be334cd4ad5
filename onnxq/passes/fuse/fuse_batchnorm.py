"""The pass ``fuse-batchnorm``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model
from onnxq.passes._scope import Scope, is_standard
from onnxq.passes.fuse._batchnorm import affine
from onnxq.passes.fuse._linear import LINEAR, fold_after, linear
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class FuseBatchNorm(Pass):
    """Fold BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul before it.

    What it does:
        At inference a BatchNormalization is affine for each channel::

            BN(y) = a·y + b          a = scale / √(variance + ε),   b = bias − mean·a
            BN(W ⊛ x + c)  =  (a·W) ⊛ x + (a·c + b)

        so it moves into the weight and the bias, which is added where there is none (a MatMul
        becomes a Gemm for it). Groups, ``alpha``, ``beta`` and transposed weights are respected.

    Why:
        An integer Conv rescales its accumulator once; a float BatchNormalization behind it would
        force the accumulator back to float. Ranges are also measured where they are used.

    Example:
        ``Conv(x, w) → BatchNormalization → Relu``  becomes  ``Conv(x, a·w, b) → Relu``.

    When it declines:
        The tensor between is also read elsewhere or is an output of the graph; the weight, the
        bias or a statistic is computed; the node before is of another type or outside of this
        sub-graph; training mode; behind a MatMul, a rank other than 2, where the channel axis of
        both differs; a result beyond the range of the weight's type. A weight shared with
        another node is copied for this one, and the other keeps the original.

    Numerics:
        Computed in float64, rounded once to the type of the weight. In float16 models the folded
        weight is float16: expect 1e-3 there instead of 1e-5.

    Source:
        Ioffe and Szegedy, Batch Normalization (2015), section 3.1, inference; the folding as in
        Jacob et al., Quantization and Training of Neural Networks (2018), section 3.2.
    """

    name: ClassVar[str] = "fuse-batchnorm"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 1e-5

    def run(self, model: Model, ctx: Context) -> None:
        """Fold every BatchNormalization that can be."""
        scope = Scope(model)
        for node in scope.sites("BatchNormalization"):
            reason = _fold(scope, node, ctx)
            if reason:
                ctx.decline(node, reason)


def _fold(scope: Scope, node: gs.Node, ctx: Context) -> str:
    between = node.inputs[0]
    above = scope.above(node)
    if above is None or not is_standard(above) or above.op not in LINEAR:
        what = f"'{above.name}' ({above.op})" if above is not None else "no node of this graph"
        return f"before it stands {what}, not one of {', '.join(LINEAR)}"
    others = scope.others(between, node)
    if others:
        return f"'{between.name}' between '{above.name}' and it is {others}"
    if above.op == "MatMul" and ctx.rank(between) != 2:
        return (
            f"behind the MatMul '{above.name}' it needs a matrix, and the rank of "
            f"'{between.name}' is {ctx.rank(between) or 'not known'}"
        )
    found, affinity = linear(above), affine(node)
    if isinstance(found, str):
        return f"'{above.name}': {found}"
    if isinstance(affinity, str):
        return affinity
    return fold_after(scope, found, node, *affinity)
