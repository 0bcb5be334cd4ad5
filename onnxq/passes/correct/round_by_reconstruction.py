"""round-by-reconstruction: integers that make up for what was rounded before them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.observer import gathered
from onnxq.calibrate.patch_samples import Patches, PatchSamples
from onnxq.graph import Model, constant_value, consumers
from onnxq.passes.correct._drift import FLOAT
from onnxq.passes.correct._emitted import LINEAR, beside_float, planned_biases
from onnxq.passes.correct._layers import Layer, narrow
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.eligibility import clamp
from onnxq.quant.reconstruction import Task, compensated, reconstruct
from onnxq.quant.second_order import Codes, by_activity, damp, descend, round_by_feedback

Array = NDArray[np.float32]
_FOLD = 4
"""One sample of so many is held out."""
_RIDGES = (0.03, 0.3)
_DAMPING = 0.03
_SWEEPS = 3
_VALUES = 4_000_000
"""Most values of the patches of one layer, of each of the two models."""


@dataclass(frozen=True, kw_only=True)
class RoundByReconstruction(Pass):
    """Choose each layer's codes for the inputs that the quantized layers before it hand on.

    What it does
        Goes through the model in a few segments. For the layers of one, the quantized model, with
        the codes chosen so far, runs beside the float one; patches of what each layer reads are
        taken in both. Then three kinds of codes are tried: weights moved by least squares to where
        the float output comes out of the quantized input and rounded by second order; the same
        without moving; and of the best of these and the codes in use, up or down learned by
        gradients through the clamp behind the layer. What is best on samples held out is kept.

    Why
        ``round-second-order`` looks at one layer alone. With few bits the errors of layers add up,
        and a later layer can take back a part of what it is given.

    Example
        ``quantize-weights,round-second-order,round-by-reconstruction,correct-biases-empirical``

    When it declines
        The layers that ``round-second-order`` declines, and those for which no other codes are
        better on samples held out.

    Numerics
        Scales and zero points stay. Every patch counts by the inverse of its energy (and that of
        all): a few places with values far beyond the others would rule least squares. Mean errors
        are taken off as in ``correct-biases-empirical``, in the run and in the fit.
        It is in no recipe: what it wins layer by layer on samples held out it can lose at the
        outputs (mobilenetv2, 4 bits: 13.2 dB without, 11.5 dB with it).

    Source
        Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization" (AdaRound,
        with its asymmetric reconstruction); Li et al. 2025, "GPTAQ" (the moved weights). Formulas
        are in ``quant/reconstruction.py``.

    Attributes:
        bits: layers whose weights have more bits are not looked at: there the noise of activations
            rules, which no choice of weights takes back; one scale for all channels counts as two
            bits less.
        samples: how many samples are measured, from the first on.
        segments: in how many runs of the growing quantized model.
        steps: of gradient descent for each layer; 0 leaves it out.
        columns: layers with more values in a patch are left.
    """

    name: ClassVar[str] = "round-by-reconstruction"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0
    needs_samples: ClassVar[bool] = True

    bits: int = 6
    samples: int = 64
    segments: int = 8
    steps: int = 300
    columns: int = 4608

    def run(self, model: Model, ctx: Context) -> None:
        layers = narrow(model, ctx, self.bits, self.columns)
        size = -(-len(layers) // self.segments) if layers else 1
        for start in range(0, len(layers), size):
            for layer, x, quantized in self._read(layers[start : start + size], model, ctx):
                if not self._round(layer, x, quantized, ctx):
                    ctx.decline(layer.node, "no codes are better on samples held out")

    def _read(
        self, layers: list[Layer], model: Model, ctx: Context
    ) -> Iterator[tuple[Layer, Patches, Patches]]:
        """What *layers* read in the float model, and in the quantized one as it is now."""
        joined, _ = beside_float(model, ctx, planned_biases(model, ctx)[0])
        inputs = {i.name for i in joined.graph.input}
        reads = {n.name: n.input[0] for n in joined.graph.node if n.op_type in LINEAR}
        places = []
        for layer in layers:
            most = _VALUES // (layer.groups * layer.columns * self.samples)
            observer = PatchSamples(layer.reads, int(np.clip(most, 1, 256)), finite=False)
            x = layer.node.inputs[0].name
            pair = x if x in inputs else FLOAT + x, reads[layer.node.name]
            places.append((layer, pair, observer))
        wanted = gathered((name, observer) for _, pair, observer in places for name in pair)
        found = ctx.observe_apart(joined, wanted, self.samples)
        for layer, (x, quantized), observer in places:
            yield layer, found.get(x, observer), found.get(quantized, observer)

    def _round(self, layer: Layer, x: Patches, quantized: Patches, ctx: Context) -> bool:
        """Give *layer* the codes that are best on the samples held out; whether they are others."""
        pairs = list(zip(x, quantized, strict=True))
        held = [p for p in pairs if p[0][0] % _FOLD == _FOLD - 1]
        fitted = [p for p in pairs if p[0][0] % _FOLD != _FOLD - 1]
        if not fitted:
            return False
        real, quant = _joined(fitted)
        if not real.shape[1]:
            return False
        scale = layer.rows(_along(layer, ctx))[:, :, :1]
        w, now, allowed = layer.in_units(ctx), layer.codes(ctx), layer.allowed(ctx)
        task = _task(layer, real, quant, w * scale)
        test = _task(layer, *_joined(held), w * scale) if held else task

        def error(codes: Array) -> float:
            """On *test*, with the bias that is right on *task*."""
            own = replace(test, bias=task.drifted(codes * scale).bias)
            return float(own.errors(codes * scale).sum())

        best = min((now, *_by_feedback(w, real, quant, task.counts, allowed)), key=error)
        if self.steps and allowed.pair_limit is None:
            drifted = task.drifted(best * scale)
            learned = reconstruct(best, w, scale, allowed, drifted, steps=self.steps)
            best = min((best, learned), key=error)
        if best is now:
            return False
        layer.put(best, ctx)
        return True


def _by_feedback(
    w: Array, real: Array, quant: Array, counts: Array, allowed: Codes
) -> Iterator[Array]:
    """Codes for *w* as it is, and moved to make up for what *quant* is off by."""
    share = (counts / counts.sum())[:, None]
    x = quant - (share * quant).sum(axis=1, keepdims=True)
    off = real - quant
    off = off - (share * off).sum(axis=1, keepdims=True)
    weighted = (share * x).transpose(0, 2, 1)
    h, cross = weighted @ x, (weighted @ off).transpose(0, 2, 1)
    damped, order = damp(h, _DAMPING), by_activity(h)
    moved = [compensated(w, h, cross, ridge) for ridge in _RIDGES]
    for goal in (w, *moved):
        codes = round_by_feedback(goal, damped, allowed, order)
        yield descend(codes, goal, damped, allowed, _SWEEPS)


def _joined(
    pairs: list[tuple[tuple[int, Array], tuple[int, Array]]],
) -> tuple[Array, Array]:
    """Patches of all samples, float and quantized, where both are finite."""
    real, quant = (np.concatenate([p[i][1] for p in pairs], axis=1) for i in (0, 1))
    whole = np.isfinite(real).all(axis=(0, 2)) & np.isfinite(quant).all(axis=(0, 2))
    return (real, quant) if whole.all() else (real[:, whole], quant[:, whole])


def _task(layer: Layer, real: Array, quant: Array, weights: Array) -> Task:
    """What *layer* with *weights* makes of *real*, to be made of *quant*."""
    energy = np.square(real).mean(axis=(0, 2))
    counts = 1 / (energy + energy.mean() + np.float32(1e-30))
    low, high = _clamp(layer)
    bias = np.zeros((layer.groups, 1, weights.shape[1]), np.float32)
    values = constant_value(layer.node.inputs[2]) if len(layer.node.inputs) > 2 else None
    if values is not None and values.size == bias.size:
        bias = np.asarray(values, np.float32).reshape(bias.shape)
    wanted = np.clip(real @ weights.transpose(0, 2, 1) + bias, low, high)
    return Task(quant, wanted, counts / counts.mean(), bias, low, high)


def _clamp(layer: Layer) -> tuple[float, float]:
    users = consumers(layer.node.outputs[0])
    if len(users) == 1 and users[0][0].op in ("Relu", "Clip"):
        return clamp(users[0][0]) or (-np.inf, np.inf)
    return -np.inf, np.inf


def _along(layer: Layer, ctx: Context) -> Array:
    scale, _ = ctx.qparams[layer.name].along(layer.weight.ndim)
    return np.asarray(np.broadcast_to(scale, layer.weight.shape), np.float32)
