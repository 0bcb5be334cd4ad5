"""The pass ``fuse-batchnorm-forward``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute, consumers
from onnxq.passes._scope import Scope, is_standard
from onnxq.passes.fuse._batchnorm import affine
from onnxq.passes.fuse._linear import LINEAR, fold_before, leaves_codes, linear
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class FuseBatchNormForward(Pass):
    """Fold a BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul behind it.

    What it does:
        A BatchNormalization that stands before a linear node is a factor and a shift for each of
        its input channels::

            BN(x) = a·x + b          a = scale / √(variance + ε),   b = bias − mean·a
            W ⊛ (a·x + b) + c  =  (W·a) ⊛ x + (c + W ⊛ b)

        Padding puts zeros behind the shift, so a shift moves only through an unpadded Conv; a
        factor alone moves through any.

    Why:
        Networks that normalize first (DenseNet, pre-activation ResNet, inputs normalized inside
        of the model) have nothing before the BatchNormalization to fold it into.

    Example:
        ``BatchNormalization(x) → Conv(w)``  without padding becomes  ``Conv(x, w·a, c + Σ w·b)``.

    When it declines:
        The normalized tensor is read by more than one node, by a node of another type or of
        another sub-graph, or is an output of the graph; the Conv pads and the shift is not zero;
        a ConvTranspose and the shift is not zero; the weight, the bias or a statistic is
        computed; before a Gemm with transA or a MatMul whose input is not a matrix. A weight
        shared with another node is copied for this one.

    Numerics:
        Computed in float64, rounded once to the type of the weight. In float16 models the folded
        weight is float16: expect 1e-3 there instead of 1e-5.

    Source:
        Linearity of the convolution; Ioffe and Szegedy, Batch Normalization (2015), section 3.1.
    """

    name: ClassVar[str] = "fuse-batchnorm-forward"
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
    between = node.outputs[0]
    users = consumers(between)
    if not users:
        return f"'{between.name}' is an output of the graph, not read by a linear node"
    below, index = users[0]
    if index != 0 or below.op not in LINEAR or not is_standard(below):
        return f"'{below.name}' ({below.op}) behind it is not one of {', '.join(LINEAR)}"
    others = scope.others(between, below)
    if others or len(users) > 1:
        return f"'{between.name}' between it and '{below.name}' is {others or 'read twice'}"
    if scope.graph(below) is not scope.graph(node):
        return f"'{below.name}' behind it is inside of a sub-graph"
    if attribute(below, "transA", 0):
        return f"'{below.name}' transposes its input, so that channels become rows"
    if below.op == "MatMul" and ctx.rank(between) != 2:
        return (
            f"before the MatMul '{below.name}' it needs a matrix, and the rank of "
            f"'{between.name}' is {ctx.rank(between) or 'not known'}"
        )
    found, affinity = linear(below), affine(node)
    if isinstance(found, str):
        return f"'{below.name}': {found}"
    if isinstance(affinity, str):
        return affinity
    blocked = scope.cannot_bypass(node) or leaves_codes(below, affinity[0], ctx)
    if blocked:
        return blocked
    return fold_before(scope, found, *affinity, rank=ctx.rank(between)) or scope.bypass(node)
