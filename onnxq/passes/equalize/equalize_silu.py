"""The pass ``equalize-silu``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.calibrate.channel_extremes import ChannelExtremes
from onnxq.calibrate.observer import AnyObserver
from onnxq.graph import Model
from onnxq.passes.equalize._blocks import Block, apply, blocks
from onnxq.passes.equalize._channels import Channels
from onnxq.passes.equalize._factors import Array, factors, live, noise, spread
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.faster_float import stays_float
from onnxq.quant import PerAxis


@dataclass(frozen=True, kw_only=True)
class EqualizeSiLU(Pass):
    """Even out the ranges of channels through SiLU.

    What it does
        Scales the channels of ``y = x · sigmoid(x)``, where a Conv computes x, by factors a ≥ 1.
        SiLU is not homogeneous, but its gate can be kept: with x' = a·x from scaled weights and
        bias, and k = 1/a in front of the sigmoid alone::

            y' = x' · sigmoid(k · x') = a · x · sigmoid(x) = a · y

        The layers that read y, through pooling, resizing, joins, splits and sums, take the factor
        back into their weights. Channels that meet in a sum share a factor. With the ranges R of
        the channels of y and of the live part of x (SiLU makes nothing of what lies below -5), and
        the largest weights w that read them, a ∝ √(w / R), or 1 / R where only depthwise layers
        read y: the scales of their weights are by channel in any case.

    Why
        A tensor has one step, which its widest channel sets. Where ranges differ a hundred times,
        8 bits leave one or two to most channels.

    Example
        ``Conv(x, w, b)  Sigmoid  Mul``  becomes  ``Conv(x, a·w, a·b)  Mul(k)  Sigmoid  Mul``.

    When it declines
        y, or what is added to it, is an output of the graph or reaches an operator that does not
        treat channels apart or has no stored weights; weights are shared, or have one scale for
        all channels; the layers will stay in float because they are faster there (see
        'keep-faster-float'); ranges are within ``ratio``; or the noise predicted from ranges would
        not go down.

    Numerics
        The same function up to rounding in float32. 255/a is an integer, so that k is exact in
        8 bits. One more multiplication for each SiLU, in integers.

    Source
        Nagel et al. 2019 (equalization through homogeneous functions), Xiao et al. 2022 (sharing
        the range between activations and weights); the constant in the gate is this pass's own.

    Attributes:
        cap: the largest factor, from 1 to 255.
        ratio: the least ratio of channel ranges for which it is worth a multiplication; 8 stand for
            three bits.
    """

    name: ClassVar[str] = "equalize-silu"
    stage: ClassVar[Stage] = Stage.EQUALIZE
    preserves: ClassVar[float | None] = 1e-4

    cap: float = 255.0
    ratio: float = 8.0

    def wants(self, model: Model, ctx: Context) -> Mapping[str, tuple[AnyObserver, ...]]:
        """Channel extremes of what would be scaled; nothing where there is no SiLU."""
        wanted = [
            block for block in blocks(Channels.find(model, ctx), gated=True) if not block.reason
        ]
        rounded = [(r.tensor.name, r.axis) for block in wanted for r in block.rounded]
        gated = [(s.node.outputs[0].name, 1) for b in wanted for s in b.sources if s.gate]
        return {name: (ChannelExtremes(axis),) for name, axis in (*rounded, *gated)}

    def run(self, model: Model, ctx: Context) -> None:
        """Choose factors block by block, then scale sources and readers."""
        channels = Channels.find(model, ctx)
        by_channel = isinstance(ctx.target.weights.granularity, PerAxis)
        a = np.ones(channels.count)
        floating = stays_float(model, ctx)
        for block in blocks(channels, gated=True):
            reason = block.reason
            if not reason and floating.issuperset(s.node.name for s in block.sources):
                reason = "it is faster in float, where channels need no common step"
            if not reason and (not by_channel or ctx.plan.granularity not in (None, "channel")):
                reason = "weights have one scale for all channels"
            if not reason:
                chosen, reason = self._factors(block, ctx)
                a[block.members] = chosen[block.where(block.members)]
            if reason:
                for source in block.sources:
                    ctx.decline(source.node, reason)
        if (a > 1).any():
            apply(channels, a)

    def _factors(self, block: Block, ctx: Context) -> tuple[Array, str]:
        """Factors by root, all 1 with the reason where they are not worth it."""
        one = np.ones(block.roots.size)
        ranges, dense, single = np.zeros((3, block.roots.size))
        for r in block.rounded:
            mine = block.has(r.ids)
            size = ctx.statistics.get(r.tensor.name, ChannelExtremes(r.axis)).magnitude
            np.maximum.at(ranges, block.where(r.ids[mine]), size[mine])
        for source in block.sources:
            if source.gate is not None:
                extremes = ctx.statistics.get(source.node.outputs[0].name, ChannelExtremes())
                np.maximum.at(ranges, block.where(source.ids), live(extremes.low, extremes.high))
        for reader in block.readers:
            mine = block.has(reader.ids)
            size = reader.magnitude()
            np.maximum.at(
                single if reader.depthwise else dense, block.where(reader.ids[mine]), size[mine]
            )
        depthwise = all(reader.depthwise for reader in block.readers)
        a = factors(ranges, None if depthwise else dense, self.cap)
        a[block.frozen] = 1.0
        if spread(a) < self.ratio:
            return one, f"the ranges of its channels are within {self.ratio:g}:1"
        weights = single if depthwise else dense
        if not noise(ranges, weights, a, depthwise) < noise(ranges, weights, one, depthwise):
            return one, "the noise predicted from ranges would not go down"
        return a, ""
