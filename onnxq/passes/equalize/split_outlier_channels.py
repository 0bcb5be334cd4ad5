"""The pass ``split-outlier-channels``."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, attribute, constant_value
from onnxq.passes._scope import Scope, present
from onnxq.passes.equalize._chain import Chain, cannot_change, chains, flattens, rename
from onnxq.passes.equalize._ends import output_axis
from onnxq.passes.equalize._split import split
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.eligibility import why_not
from onnxq.pipeline.kernel_plan import weight_spec
from onnxq.pipeline.scaled import scale_factors
from onnxq.quant import PerBlock

_LAYERS = ("Conv", "Gemm", "MatMul")
_PASSES = frozenset({
    "Relu", "Clip", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Softplus", "Softsign",
    "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu", "Mish", "Abs", "Neg", "Exp",
    "Sqrt", "Identity", "Dropout",
    "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool",
})  # fmt: skip
"""Operators that treat channels apart and alike, and take no constants by channel."""


@dataclass(frozen=True, kw_only=True)
class SplitOutlierChannels(Pass):
    """Split the channels with the largest weights in two, so that steps can be smaller.

    What it does
        An input channel of a layer that holds the largest weights w becomes two, which the layer
        in front computes twice, by copies of its weights and bias::

            w · x  =  (w − s/2)/2 · x + (w + s/2)/2 · x

        With s, the step of the rounded weights, the two halves are rounded so that together they
        are w rounded to s. A channel may be split again: n copies get w/n, with offsets likewise.

    Why
        A few weights set the step of all others: for one scale a tensor, or for 4 bits, where the
        step is coarse. Halved outliers halve it, and nothing is clipped.

    Example
        ``Conv(x, w, b)  Relu  Conv(v)``  becomes
        ``Conv(x, [w; w_c], [b; b_c])  Relu  Conv([v with v_c/2; v_c/2])``.

    When it declines
        What the layer in front writes is an output of the graph, is read twice, as in a residual
        join, or reaches something that does not treat channels apart; one of the two layers has
        groups; weights or biases are shared or computed; the weight of the reader is not to be
        quantized, or by blocks; or its rounding error would not go down by a tenth, which costs
        more multiplications to no end.

    Numerics
        The same function up to rounding in float32. That halves add up to w rounded holds where
        the scale is that of the largest weight; with another it holds to a step.

    Source
        Zhao et al. 2019, "Improving Neural Network Quantization without Retraining using Outlier
        Channel Splitting", sections 3.2 to 3.4. Where each output channel has a scale, the channel
        that sets most of them is split, and where that does not pay, none.

    Attributes:
        percent: how many channels are added to those that a layer reads, in percent, rounded up.
    """

    name: ClassVar[str] = "split-outlier-channels"
    stage: ClassVar[Stage] = Stage.EQUALIZE
    preserves: ClassVar[float | None] = 1e-4

    percent: float = 2.0

    def run(self, model: Model, ctx: Context) -> None:
        """Split channels layer by layer, in graph order."""
        ctx.learn(model)  # whether a layer will be quantized depends on types
        scope = Scope(model)
        for chain in list(chains(scope, _LAYERS, _LAYERS, _passes)):
            reader, reason = chain.reader, chain.reason
            if reader is None:
                if not scope.is_output(chain.source.outputs[0]):
                    ctx.decline(chain.source, reason)
                continue
            reason = _cannot(scope, chain, ctx) or self._split(scope, chain, reader, ctx)
            if reason:
                ctx.decline(reader, reason)

    def _split(self, scope: Scope, chain: Chain, reader: gs.Node, ctx: Context) -> str:
        """Split channels between the two layers of *chain*; or say why that does not pay."""
        spec = weight_spec(reader, ctx.target.rules[reader.op], ctx)
        if isinstance(spec.granularity, PerBlock):
            return "its weight has scales by block"
        weight, channels = constant_value(reader.inputs[1]), chain.channels
        assert weight is not None
        axis = 1 - output_axis(reader)
        copies = ceil(channels * self.percent / 100)
        found = split(weight, axis, copies, weight.shape[axis] // channels, spec)
        if found.after > 0.9 * found.before:
            lost = np.sqrt([found.before, found.after])
            return f"the rounding error of its weight is {lost[0]:.3g} and would be {lost[1]:.3g}"
        moments = {n: m for n, m in ctx.moments.items() if m[0].size == channels}
        factors = scale_factors(scope.model)
        names = rename(scope, chain, ctx, "split", channels + copies)
        for old in names.keys() & moments.keys():
            of = np.broadcast_to(factors.get(old, np.ones(1)).reshape(-1), channels)
            mean, deviation = moments[old]
            taken = (mean * of)[found.channels], (deviation * of)[found.channels]
            ctx.moments[names[old]] = taken
        _copy_outputs(scope, chain.source, found.channels, channels)
        scope.set_constant(reader, 1, found.weight)
        return ""


def _passes(node: gs.Node) -> bool:
    return node.op in _PASSES or flattens(node)


def _cannot(scope: Scope, chain: Chain, ctx: Context) -> str:
    """Why the two layers of *chain* cannot be changed; empty where they can."""
    assert chain.reader is not None
    for node in (chain.source, chain.reader):
        if int(attribute(node, "group", 1)) != 1:
            return f"'{node.name}' has groups"
    reason = cannot_change(scope, chain.source) or cannot_change(scope, chain.reader)
    rule = ctx.target.rules.get(chain.reader.op)
    if reason or rule is None:
        return reason or f"the target '{ctx.target.name}' does not quantize {chain.reader.op}"
    return why_not(chain.reader, rule, scope.model, ctx) or ""


def _copy_outputs(scope: Scope, node: gs.Node, channels: NDArray[np.int64], count: int) -> None:
    """Let *node*, of *count* outputs, compute the outputs *channels* of it."""
    for index in (1, 2):
        value = constant_value(node.inputs[index]) if present(node, index) else None
        if value is None:
            continue
        axis = output_axis(node) if index == 1 else value.ndim - 1
        if value.ndim and value.shape[axis] == count:
            scope.set_constant(node, index, np.take(value, channels, axis))
