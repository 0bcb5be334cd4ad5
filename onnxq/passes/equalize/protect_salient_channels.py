"""The pass ``protect-salient-channels``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model
from onnxq.passes.equalize._blocks import Block, apply, blocks
from onnxq.passes.equalize._channels import Channels
from onnxq.passes.equalize._ends import Array
from onnxq.passes.equalize._salience import Salience, saliences
from onnxq.passes.plan._weights import size_of, stored_spec
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.weight_sites import run_of
from onnxq.quant import INT8, DType, QuantSpec

_STRENGTHS = np.arange(1, 21) / 20
_WORTH = 0.98
"""What the noise has to fall to, as a share of what it was."""
_SMALLEST = 256
"""Layers with fewer weights stay in float."""


@dataclass(frozen=True, kw_only=True)
class ProtectSalientChannels(Pass):
    """Scale up the weights that read the channels with large values, before weights are rounded.

    What it does
        Divides channels of what a LayerNorm, RMSNorm, Mul by a constant or a linear layer writes
        by the factor by which the weights of all layers that read them are multiplied. Weights
        that meet large activations so get finer steps than their neighbours in a block. How far
        to go is tried, group by group: what counts is the error behind the layers that read.

    Why
        Of the errors of rounded weights those in front of large activations matter most. This one
        costs nothing when the model runs.

    Example
        ``protect-salient-channels{weights=int4,block=32},plan-weights{weights=int4,block=32}``

    When it declines
        Channels reach something else than layers with stored weights (a residual sum, a Softmax,
        an output of the graph), or weights are shared; or the error on samples held out does not
        go down by a fiftieth: the reason has both numbers.

    Numerics
        The same function up to rounding in float32. With r_c the root of the mean square of
        channel c and W_c the root of that of the weights that read it, factors r_c^α and
        r_c^α / W_c^(1−α) are tried, α from 0.05 to 1; they and their reciprocals are at most
        *cap*. They are fitted on three of four samples and judged on the fourth.

    Source
        Lin et al. 2023, "AWQ: Activation-aware Weight Quantization for LLM Compression and
        Acceleration", section 3.2, https://arxiv.org/abs/2306.00978.

    Attributes:
        weights, block, symmetric: how weights will be stored, as of ``plan-weights``.
        cap: the largest factor, at least 1.
        samples: how many samples are measured, from the first on.
        patches: of each sample, how many rows a layer is measured on, at most.
        columns: layers with more values in a patch are left out.
    """

    name: ClassVar[str] = "protect-salient-channels"
    stage: ClassVar[Stage] = Stage.EQUALIZE
    preserves: ClassVar[float | None] = 1e-4
    needs_samples: ClassVar[bool] = True

    weights: DType = INT8
    block: int = 0
    symmetric: bool = True
    cap: float = 64.0
    samples: int = 64
    patches: int = 256
    columns: int = 4608

    def run(self, model: Model, ctx: Context) -> None:
        channels = Channels.find(model, ctx)
        chosen = []
        for one in blocks(channels, gated=False):
            specs = {r.node.name: s for r in one.readers if (s := self._spec(r.node, ctx))}
            if one.reason and one.readers:
                for source in one.sources:
                    ctx.decline(source.node, one.reason)
            elif specs and not one.reason:
                chosen.append((one, specs))
        a = np.ones(channels.count)
        measured = saliences(
            chosen, model, ctx, samples=self.samples, patches=self.patches, columns=self.columns
        )
        for one, layers in measured:
            self._settle(one, layers, a, ctx)
        if (a != 1).any():
            apply(channels, a)

    def _spec(self, node: gs.Node, ctx: Context) -> QuantSpec | None:
        """How the weight of *node* will be stored; None where it stays in float."""
        run = run_of(node, 1)
        if run is None or size_of(node.inputs[1]) < _SMALLEST:
            return None
        run = replace(run, size=self.block)
        return stored_spec(self.weights, run, ctx.target, symmetric=self.symmetric)

    def _settle(self, block: Block, layers: list[Salience], a: Array, ctx: Context) -> None:
        """Put the best factors of *block* into *a*, where they lower the error."""
        if not layers:
            return
        best, least = a, _noise(layers, a)
        for trial in _trials(block, layers, a, self.cap):
            if (made := _noise(layers, trial)) < least:
                best, least = trial, made
        before, after = (_noise(layers, v, held=True) for v in (a, best))
        if best is not a and after < _WORTH * before:
            a[block.members] = best[block.members]
            return
        reason = f"noise to signal on samples held out is {before:.3g} and would be {after:.3g}"
        for source in block.sources:
            ctx.decline(source.node, reason if best is not a else "no strength lowers the noise")


def _noise(layers: list[Salience], a: Array, *, held: bool = False) -> float:
    return sum(layer.noise(a, held=held) for layer in layers)


def _trials(block: Block, layers: list[Salience], a: Array, cap: float) -> list[Array]:
    """Factors of all variables to be tried, those of *block* by strength."""
    count = block.roots.size
    power, weight, seen = np.zeros((3, count))
    for layer in layers:
        mine = block.has(layer.ids)
        at = block.where(layer.ids[mine])
        np.add.at(power, at, layer.power()[mine])
        np.add.at(weight, at, layer.magnitude()[mine])
        np.add.at(seen, at, 1)
    alive = (power > 0) & (weight > 0) & ~block.frozen
    if not alive.any():
        return []
    reads, writes = (np.log(v[alive] / seen[alive]) / 2 for v in (power, weight))
    place, found = block.where(block.members), []
    for alpha in _STRENGTHS:
        for logs in (alpha * reads, alpha * reads - (1 - alpha) * writes):
            # the weights are divided by a: they are to grow with the activations
            even = -logs if block.frozen.any() else logs.mean() - logs
            own = np.ones(count)
            own[alive] = np.exp(np.clip(even, -np.log(cap), np.log(cap)))
            trial = a.copy()
            trial[block.members] = own.astype(np.float16).astype(np.float64)[place]
            found.append(trial)
    return found
