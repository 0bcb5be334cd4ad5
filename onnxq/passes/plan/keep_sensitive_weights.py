"""keep-sensitive-weights: which weights of float layers are not worth storing as int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model
from onnxq.passes.plan._weights import candidates, size_of
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.weight_sites import run_of

RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True, kw_only=True)
class KeepSensitiveWeights(Pass):
    """Keep the weights out of int8 that lose much there and save little.

    What it does
        In a graph with LSTM, GRU or RNN every weight that is not planned yet stays as it is. In
        others the smallest do, until they hold ``percent`` of all weights.

    Why
        A recurrent layer reads what it computed before: errors of all that is in front of it add
        up step after step. Elsewhere small weights are those of first layers, depthwise kernels
        and narrow bottlenecks, where a sum over few rounded values averages little; a scale for
        each row of 9 values takes half of what int8 saves. ``store-float16`` halves both kinds.

    Example
        ``plan-dynamic,keep-sensitive-weights,plan-weights,store-float16``

    When it declines
        Never. Layers that are planned already (MatMul, Gemm and LSTM on integers) are.

    Numerics
        Changes nothing by itself. Layers get the precision 16, as by ``set-precision``.

    Source
        Measured on the networks of ``tests/bench/beyond.py``: with all else in int8 three
        recurrent ones lose 7 to 23 dB, mobilenetv2 loses 7 dB by the smallest hundredth.

    Attributes:
        percent: most of the weights, in percent, that stay for being small.
    """

    name: ClassVar[str] = "keep-sensitive-weights"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    percent: float = 1.0

    def run(self, model: Model, ctx: Context) -> None:
        found = [n for n in candidates(model, ctx) if _size(n)]
        if any(node.op in RECURRENT for node in model.nodes()):
            why = "not as int8: in a recurrent network errors add up step after step"
            for node in found:
                _keep(node, why, ctx)
            return
        sizes = {n.name: _size(n) for n in model.nodes() if n.name and _size(n)}
        left = sum(sizes.values()) * self.percent / 100
        for node in sorted(found, key=_size):
            left -= _size(node)
            if left < 0:
                break
            _keep(node, "not as int8: few weights, which save little", ctx)


def _keep(node: gs.Node, why: str, ctx: Context) -> None:
    ctx.plan.excluded[node.name] = why
    ctx.plan.precisions[node.name] = "16"


def _size(node: gs.Node) -> int:
    """How many weights *node* has."""
    sites = range(len(node.inputs))
    return sum(size_of(node.inputs[i]) for i in sites if run_of(node, i) is not None)
