"""The pass ``batchnorm-to-depthwise``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, constant_value, replace_input
from onnxq.passes._scope import Scope
from onnxq.passes.fuse._batchnorm import affine
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class BatchNormToDepthwise(Pass):
    """Write a BatchNormalization that stands alone as a depthwise Conv.

    What it does:
        At inference a BatchNormalization is a factor and a shift for each channel, and so is a
        Conv with one 1×1 filter for each channel::

            BN(x) = a·x + b = Conv(x; W = a [C, 1, 1, …], bias = b, group = C)

        with a = scale / √(variance + ε) and b = bias − mean·a. No named recipe holds this pass:
        add it behind 'fuse-batchnorm' and 'fuse-batchnorm-forward', which leave nothing to do
        where they can.

    Why:
        Runtimes have no integer BatchNormalization. Between integer layers it costs a way to
        float and back; as a Conv it is one more integer kernel.

    Example:
        ``Relu → BatchNormalization → Conv<pads = [1,1,1,1]>``  becomes
        ``Relu → Conv<group = C> → Conv<pads = [1,1,1,1]>``.

    When it declines:
        The rank of the input is not known or below 3; a statistic is computed; training mode; a
        factor or shift beyond the range of the type.

    Numerics:
        Computed in float64, rounded once to the type of the scale.

    Source:
        Ioffe and Szegedy, Batch Normalization (2015), section 3.1, inference.
    """

    name: ClassVar[str] = "batchnorm-to-depthwise"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 1e-5

    def run(self, model: Model, ctx: Context) -> None:
        """Rewrite every BatchNormalization that can be."""
        scope = Scope(model)
        for node in scope.sites("BatchNormalization"):
            reason = _rewrite(scope, node, ctx)
            if reason:
                ctx.decline(node, reason)


def _rewrite(scope: Scope, node: gs.Node, ctx: Context) -> str:
    rank, found, scale = ctx.rank(node.inputs[0]), affine(node), constant_value(node.inputs[1])
    if isinstance(found, str):
        return found
    if rank is None or rank < 3 or scale is None:
        return f"a Conv takes tensors of rank 3 and more, and the rank is {rank or 'not known'}"
    with np.errstate(over="ignore"):
        factor, shift = (v.astype(scale.dtype) for v in found)
    if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
        return f"its factor or shift is beyond the range of {scale.dtype}"
    x, name = node.inputs[0], node.outputs[0].name
    node.inputs.clear()
    node.attrs.clear()
    node.op = "Conv"
    node.attrs["group"] = int(factor.size)
    weight = factor.reshape(-1, *[1] * (rank - 1))
    for index, (what, value) in enumerate((("weight", weight), ("bias", shift)), 1):
        constant = gs.Constant(scope.model.unique_name(f"{name}__{what}"), value)
        replace_input(node, index, constant)
    replace_input(node, 0, x)
    return ""
