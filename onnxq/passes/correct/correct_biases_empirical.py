"""correct-biases-empirical: take out of each bias what quantization adds on average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.calibrate.channel_rows import ChannelRows, stacked
from onnxq.calibrate.statistics import Statistics
from onnxq.graph import Model, constant_value
from onnxq.passes.correct._drift import ERROR, LEAST, WEIGHT, is_gated
from onnxq.passes.correct._emitted import beside_float, planned_biases
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import Rounding
from onnxq.quant.robust import average, typical


@dataclass(frozen=True, kw_only=True)
class CorrectBiasesEmpirical(Pass):
    """Correct each bias for the mean error that everything quantized before it causes.

    What it does
        The quantized model, as it would be emitted now, runs beside the float one in one graph.
        Behind every linear layer the mean difference of each output channel is taken off before
        the next layer reads it; its mean over the samples comes off the bias:
        ``b' = b − E[f'(y)² · (ŷ − y)] / E[f'(y)²]``, with f the ReLU, clamp or SiLU that alone
        reads y (f' = 1 elsewhere): errors that the activation hides do not count. Samples more
        than twice as far from the median as half of them count no more than those there; behind a
        SiLU, whose few open samples are the ones that count, they do. What n samples cannot tell
        from chance is left: the drift d of a channel is taken off times ``d² / (d² + v / n)``,
        with v its variance over samples, these cut likewise.

        Where the target has an arithmetic of its own, the quantized model rounds as that does:
        floor takes half a step off every result, and half up adds a quarter where a sum is halved.

    Why
        Errors of weights do not cancel where inputs are positive, and values that a SiLU or ReLU
        crowds between two codes are all rounded the same way. Both shift whole channels, and layers
        with large weights of both signs make much of a small shift.

    Example
        ``quantize-weights,correct-biases-empirical,quantize-biases``

    When it declines
        A layer without a constant bias of its own.

    Numerics
        The formula is the δ that makes ``E[f'(y)² · (ŷ − δ − y)²]`` smallest. Because each layer
        reads inputs that are corrected already, one run corrects all layers in sequence. Within
        the run each sample is corrected by its own mean; a bias can only hold that of all. With
        plain means a few samples, on which one channel leaves its range, shift it for all others
        (mobilenetv2, powers of two, by which 32 samples were taken: 12.6 to 17.6 dB).

    Source
        Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
        appendix D; Finkelstein et al. 2019, "Fighting Quantization Bias With Bias". The weights
        f'² and the correction within one run are ours; what is far off counts as in
        ``onnxq.quant.robust``; the factor is the one that makes the expected square of what
        remains smallest.

    Attributes:
        samples: how many samples the means are taken over, from the first on.
    """

    name: ClassVar[str] = "correct-biases-empirical"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0
    needs_samples: ClassVar[bool] = True

    samples: int = 32

    def run(self, model: Model, ctx: Context) -> None:
        layers, without = planned_biases(model, ctx)
        for node in without:
            ctx.decline(node, "it has no constant bias of its own")
        if not layers:
            return
        joined, plain = beside_float(model, ctx, layers)
        wanted = {
            prefix + name: (ChannelRows(layer.axis),)
            for name, layer in layers.items()
            for prefix in ((ERROR,) if name in plain else (ERROR, WEIGHT))
        }
        found = ctx.observe_apart(joined, wanted, self.samples)
        for name, layer in layers.items():
            drift = _drift(
                name, ChannelRows(layer.axis), found, weighted=name not in plain,
                robust=not is_gated(layer),
            )  # fmt: skip
            bias = ctx.biases.get(layer.bias.name, constant_value(layer.bias))
            assert bias is not None, name
            if drift.size == bias.size:
                corrected = bias.astype(np.float64) - drift.reshape(bias.shape)
                corrected += _lost(layer.node.outputs[0], model, ctx)
                ctx.biases[layer.bias.name] = corrected.astype(np.float32)


def _lost(tensor: gs.Tensor, model: Model, ctx: Context) -> float:
    """What rounding takes off *tensor* on average, where it is an output: no layer follows."""
    arithmetic, grid = ctx.target.integer, ctx.qparams.get(tensor.name)
    if arithmetic is None or grid is None or not model.is_output(tensor):
        return 0.0
    steps = {Rounding.FLOOR: 0.5, Rounding.CEIL: -0.5}.get(arithmetic.rounding, 0.0)
    return steps * float(grid.scale.max())


def _drift(
    name: str, observer: ChannelRows, found: Statistics, *, weighted: bool, robust: bool
) -> NDArray[np.float64]:
    """What to take off each channel of the layer *name*, float64 [channels]."""
    error = stacked(found.get(ERROR + name, observer))
    if not error.size:
        return np.empty(0)
    weight = stacked(found.get(WEIGHT + name, observer)) if weighted else np.ones_like(error)
    seen = np.isfinite(error) & np.isfinite(weight)
    weight = np.where(seen, weight, 0.0)
    each = np.where(seen, error, 0.0) / (weight + LEAST if weighted else 1.0)
    drift, spread = (typical if robust else average)(each, weight)
    power = drift**2
    doubt = spread / max(len(error) - 1, 1)
    return np.asarray(drift * power / np.maximum(power + doubt, np.finfo(np.float64).tiny))
