"""The pass ``note-batchnorm``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.graph import Model, attribute, constant_value, producer
from onnxq.passes._scope import Scope
from onnxq.passes.fuse._batchnorm import affine
from onnxq.passes.fuse._linear import LINEAR
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class NoteBatchNorm(Pass):
    """Note what each BatchNormalization says of the values around it, before it is folded.

    What it does:
        Its result has in training, for each channel, the mean β and the deviation
        ``|γ|·σ / √(σ² + ε)``; what it reads has the mean and the deviation σ that it stores. Both
        are put down by tensor name, the latter only for results of layers and sums, which are
        about normally distributed.

    Why:
        Where there is no data, these are the only measurements of activations that there are, and
        folding takes them away. ``quantize --data-free`` runs this pass by itself.

    Example:
        ``note-batchnorm`` in front of ``fuse-batchnorm``.

    When it declines:
        Training mode; a statistic is computed; the node is inside of a sub-graph.

    Numerics:
        Changes nothing.

    Source:
        Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
        Correction", sections 4.2.1 and 5.
    """

    name: ClassVar[str] = "note-batchnorm"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Put down moments in ``ctx.moments``."""
        scope = Scope(model)
        for node in scope.sites("BatchNormalization"):
            reason = affine(node)
            if isinstance(reason, str):
                ctx.decline(node, reason)
                continue
            if scope.graph(node) is not model.graph:
                ctx.decline(node, "it is inside of a sub-graph, whose values are not followed")
                continue
            scale, bias, mean, variance = (
                np.asarray(constant_value(t), np.float64).reshape(-1) for t in node.inputs[1:5]
            )
            epsilon = float(attribute(node, "epsilon", 1e-5))
            deviation = np.abs(scale) * np.sqrt(variance / (variance + epsilon))
            ctx.moments[node.outputs[0].name] = bias, deviation
            above = producer(node.inputs[0])
            if above is not None and above.op in (*LINEAR, "Add", "Sub"):
                ctx.moments.setdefault(node.inputs[0].name, (mean, np.sqrt(variance)))
