"""round-second-order: integers that make the error of each layer's output small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.patch_moments import PatchMomentsState
from onnxq.graph import Model
from onnxq.passes.correct._layers import Layer, narrow
from onnxq.passes.correct._moments import moments
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant.second_order import (
    WIDE,
    best_factors,
    by_activity,
    damp,
    descend,
    objective,
    round_by_feedback,
)

Array = NDArray[np.float32]
_DAMPING = (0.01, 0.1, 0.5)
"""Shares of the mean variance that are added to each column's, against what chance makes alike."""
_SWEEPS = 3
_FACTORS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.2, 1.35)
_FEW_BITS = 6
"""Up to here other scales are tried and single codes moved: with 8 bits it made no difference."""


@dataclass(frozen=True, kw_only=True)
class RoundSecondOrder(Pass):
    """Round weights so that their errors cancel in the layer's output.

    What it does
        Measures how the values that each layer reads vary together. Then its weights are rounded
        column by column: what one code is off by, the columns that come later make up for, as far
        as they read values that vary alike. With few bits, single codes are then moved as long as
        the error of the output falls. Damping and the order of columns are chosen for each output
        channel on samples that are held out; patches of more than 2048 values have one trial.

    Why
        Rounding each weight to nearest makes the weights' own error smallest, not the output's.
        With few bits, or 7 of 8 on processors without VNNI, that is most of what is lost.

    Example
        ``quantize-weights,round-second-order,correct-biases-empirical,quantize-biases``

    When it declines
        A ConvTranspose, a stack of matrices, shared weights, a patch of too many values, and
        layers where no rounding lowers the error on samples held out: they keep what they have.

    Numerics
        Scales (but for few bits), zero points, the range of codes and the limit on pairs stay as
        ``quantize-weights`` left them. The objective is in ``quant/second_order.py``. Inputs are
        those of the float model: fitting weights to what quantized layers in front hand on lowers
        the error in front of the activation, but by weights that are further off, and the outputs
        of networks got worse (squeezenet1.1 by 8 dB, mobilenetv2 by 7).

    Source
        Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
        Transformers", https://arxiv.org/abs/2210.17323; Frantar and Alistarh 2022, "Optimal Brain
        Compression", https://arxiv.org/abs/2208.11580.

    Attributes:
        samples: how many samples are measured, from the first on.
        patches: of each sample, how many patches a layer is measured on, at most.
        columns: layers with more values in a patch are left.
        scales: whether finer and coarser scales of each output channel are tried too, where codes
            have at most 6 bits.
        bits: layers whose weights have more bits are not looked at; one scale for all channels
            counts as two bits less.
    """

    name: ClassVar[str] = "round-second-order"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0
    needs_samples: ClassVar[bool] = True

    samples: int = 64
    patches: int = 256
    columns: int = 4608
    scales: bool = True
    bits: int = 16

    def run(self, model: Model, ctx: Context) -> None:
        layers = narrow(model, ctx, self.bits, self.columns)
        read = moments(layers, model, ctx, samples=self.samples, patches=self.patches)
        for layer, state in read:
            if not self._round(layer, state, ctx):
                ctx.decline(layer.node, "no rounding lowers its error on samples held out")

    def _round(self, layer: Layer, read: PatchMomentsState, ctx: Context) -> bool:
        """Give *layer* the best codes on the samples held out; whether they are others."""
        if not read.fitted.count:
            return False
        w, now, allowed = layer.in_units(ctx), layer.codes(ctx), layer.allowed(ctx)
        h = read.fitted.covariance()
        test = read.held.covariance() if read.held.count else h
        columns = np.broadcast_to(np.arange(w.shape[2]), (len(h), w.shape[2]))
        few = layer.spec.dtype.bits <= _FEW_BITS
        scales = [np.ones((*w.shape[:2], 1), np.float32)]
        if self.scales and layer.scalable and few:
            scales.append(best_factors(w, damp(h, _DAMPING[0]), allowed, _FACTORS))
        shares, orders = [*_DAMPING], [by_activity(h), columns]
        if layer.columns > WIDE:
            shares, orders = shares[1:2], orders[:1]
        best, factors, least = now, scales[0], objective(now - w, test)[:, :, None]
        for scale in scales:
            units = np.asarray(w / scale, np.float32)
            for share in shares:
                damped = damp(h, share)
                for order in orders:
                    codes = round_by_feedback(units, damped, allowed, order)
                    if few:
                        codes = descend(codes, units, damped, allowed, _SWEEPS)
                    error = objective(codes * scale - w, test)[:, :, None]
                    better = error < least  # row by row: outputs do not share their weights
                    best, factors = np.where(better, codes, best), np.where(better, scale, factors)
                    least = np.minimum(error, least)
        rescaled = bool((factors != 1).any())
        if not rescaled and np.array_equal(best, now):
            return False
        if rescaled:
            layer.rescale(factors, ctx)
        layer.put(best, ctx)
        return True
