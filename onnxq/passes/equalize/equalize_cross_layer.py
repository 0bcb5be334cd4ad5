"""The pass ``equalize-cross-layer``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.calibrate.observer import AnyObserver, gathered
from onnxq.calibrate.parted_extremes import PartedExtremes
from onnxq.graph import Model
from onnxq.passes.equalize._balance import Array, Reading, balance
from onnxq.passes.equalize._blocks import Block, apply, blocks
from onnxq.passes.equalize._channels import LAST, Channels
from onnxq.passes.equalize._ends import Reader, rows_of
from onnxq.passes.equalize._guard import by_channel, patches, settle
from onnxq.passes.equalize._tensor_layers import choose, inputs
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import number_format


@dataclass(frozen=True, kw_only=True)
class EqualizeCrossLayer(Pass):
    """Even out the ranges of channels between layers, where the function in between allows it.

    What it does
        Scales output channels of a layer by a ≥ 1 (weights and bias) and divides the weights of
        the layers that read them by a: Conv, ConvTranspose, Gemm, MatMul. In between,
        ``f(a · x) = a · f(x)`` holds for ReLU, LeakyReLU, PReLU, pooling, padding with zeros,
        resizing, joins, splits, slices, turned axes and reshaping; a stored summand is scaled too,
        and channels that meet in a sum share a factor. ReLU6 and the like, ``clip(x, 0, h)``, stay
        as they are: a channel that reached R ≤ h on the calibration data gets at most a = h / R, so
        that no value that was seen is cut. Weights with one scale for all channels are evened out
        too, in front and behind, with factors below 1 as well; where scales are powers of two, what
        is widest is brought up to one.

    Why
        A tensor has one step, which its widest channel sets. Where ranges differ a hundred times,
        8 bits leave one or two to most channels. Layers with a scale for each output channel take
        factors for nothing, those in front always, those behind where they are depthwise.

    Example
        ``Conv(x, w, b)  Relu  Conv(v)``  becomes  ``Conv(x, a·w, a·b)  Relu  Conv(v / a)``.

    When it declines
        The tensor is an output of the graph, or reaches an operator that does not treat channels
        apart or has no stored weights; weights are shared; the noise predicted for activations
        and weights would not go down by a twentieth; or rounding patches of samples as planned
        leaves more noise with the factors than without.

    Numerics
        The same function up to rounding in float32 on every value that calibration saw; beyond,
        a clip at h cuts channel c at h / a_c, where the quantized range would have ended too.
        Factors found from ranges are raised to the power 1, ¾, ½ or 0 that leaves the least noise
        behind the layers that read them, on patches of the first 24 samples, biases corrected.
        Where there are 64 samples or more, ranges are those without the first 32, so that whoever
        chooses the range of the scaled tensor sees values that it was not scaled by.

    Source
        Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
        Correction", section 4.1; where weights have scales by channel, ranges of activations are
        evened out and not those of weights. The objectives are in ``_balance.py`` and
        ``_by_tensor.py``.

    Attributes:
        cap: the largest factor, at least 1.
    """

    name: ClassVar[str] = "equalize-cross-layer"
    stage: ClassVar[Stage] = Stage.EQUALIZE
    preserves: ClassVar[float | None] = 1e-4

    cap: float = 64.0

    def wants(self, model: Model, ctx: Context) -> Mapping[str, tuple[AnyObserver, ...]]:
        """Channel extremes of what would be scaled, and patches of what reads it."""
        channels = Channels.find(model, ctx, clips=True)
        open_ = [b for b in blocks(channels, gated=False) if b.linear and not b.reason]
        names = {r.tensor.name: r.axis for block in open_ for r in block.rounded}
        if not by_channel(ctx):
            names |= inputs(channels, open_)
        extremes = [(name, PartedExtremes(axis)) for name, axis in sorted(names.items())]
        return gathered([*extremes, *patches(open_, ctx)])

    def run(self, model: Model, ctx: Context) -> None:
        """Choose factors block by block, then scale sources and readers."""
        channels = Channels.find(model, ctx, clips=True)
        if not by_channel(ctx):
            self._by_tensor(channels, ctx)
            return
        highest = np.full(channels.count, self.cap)
        a = np.ones(channels.count)
        found = [block for block in blocks(channels, gated=False) if block.linear]
        for block in found:
            reason = block.reason
            if not block.readers and reason.endswith(LAST):
                continue  # the last layers, which nothing could scale back
            if not reason:
                self._ceilings(channels, block, ctx, highest)
                chosen, left = self._factors(block, ctx, highest)
                if left > 0.95:
                    reason = "the noise predicted would not go down"
                else:
                    a[block.members] = chosen[block.where(block.members)]
            if reason:
                for source in block.sources:
                    ctx.decline(source.node, reason)
        self._keep(channels, [b for b in found if not b.reason], a, ctx)
        if (a > 1).any():
            apply(channels, a)

    def _by_tensor(self, channels: Channels, ctx: Context) -> None:
        """The same where each weight has one scale: factors below 1 help too, and all at once."""
        highest = np.full(channels.count, self.cap)
        found: list[Block] = []
        limits = {}
        for block in (b for b in blocks(channels, gated=False) if b.linear):
            if block.reason:
                if block.readers or not block.reason.endswith(LAST):
                    for source in block.sources:
                        ctx.decline(source.node, block.reason)
                continue
            self._ceilings(channels, block, ctx, highest)
            most = np.full(block.roots.size, self.cap)
            np.minimum.at(most, block.where(block.members), highest[block.members])
            # what a clip was seen to cut may not become smaller either
            least = np.where(most <= 1.0, 1.0, 1.0 / self.cap)
            least[block.frozen] = most[block.frozen] = 1.0
            limits[len(found)] = least, most
            found.append(block)
        if not found:
            return
        a, left = choose(channels, ctx, found, limits)
        for number, block in enumerate(found):
            if left[number] > 0.95:
                for source in block.sources:
                    ctx.decline(source.node, "the noise predicted would not go down")
        self._keep(channels, found, a, ctx)
        if (a != 1).any():
            apply(channels, a)

    def _keep(self, channels: Channels, open_: list[Block], a: Array, ctx: Context) -> None:
        """Fit the factors *a* of the blocks *open_* to samples; decline where they do not pay."""
        chosen = [b for b in open_ if (a[b.members] != 1).any()]
        for block, before, after in settle(channels, chosen, a, ctx, open_):
            reason = (
                f"noise to signal of the layers around it was {before:.3g} and would be {after:.3g}"
            )
            for source in block.sources:
                ctx.decline(source.node, reason)
        ctx.statistics = ctx.statistics.without(gathered(patches(open_, ctx)))

    def _ceilings(self, channels: Channels, block: Block, ctx: Context, highest: Array) -> None:
        """Lower *highest* [variables] to what the clips that *block* goes through leave."""
        rounded = {r.tensor.name for r in block.rounded}
        for tensor, ids, height in channels.ceilings:
            mine = block.has(ids)
            if not mine.any():
                continue
            if tensor.name not in rounded:  # not what is rounded: what it reaches is not known
                highest[ids[mine]] = 1.0
                continue
            reached = ctx.statistics.get(tensor.name, PartedExtremes()).magnitude
            room = np.divide(
                height, reached, out=np.full_like(reached, self.cap), where=reached > 0
            )
            highest[ids[mine]] = np.minimum(highest[ids], np.maximum(room, 1.0))[mine]

    def _factors(self, block: Block, ctx: Context, highest: Array) -> tuple[Array, float]:
        """Factors by root, and the share of the predicted noise that is left."""
        limit = np.full(block.roots.size, self.cap)
        np.minimum.at(limit, block.where(block.members), highest[block.members])
        limit[block.frozen] = 1.0
        ranges = []
        for r in block.rounded:
            own, mine = np.zeros(block.roots.size), block.has(r.ids)
            size = ctx.statistics.get(r.tensor.name, PartedExtremes(r.axis)).fitted
            np.maximum.at(own, block.where(r.ids[mine]), size[mine])
            ranges.append(own)
        kind = number_format(ctx.plan.weights) if ctx.plan.weights else ctx.target.weights.dtype
        readings = [_reading(reader, block, kind.qmax) for reader in block.readers]
        return balance(ranges, readings, limit)


def _reading(reader: Reader, block: Block, largest: int) -> Reading:
    """The weight of *reader* as rows over the variables of *block*."""
    flat = rows_of(reader.node)
    mine = block.has(reader.ids)
    place = np.full(reader.ids.size, -1)
    place[mine] = block.where(reader.ids[mine])
    by_group = place.reshape(reader.groups, -1)
    where = np.repeat(by_group, len(flat) // reader.groups if reader.groups > 1 else 1, axis=0)
    size, power = np.abs(flat), np.square(flat)
    if flat.shape[2] == 1:  # reduced, a window of one place takes as long as many
        return Reading(size[:, :, 0], power[:, :, 0], where, largest)
    return Reading(size.max(axis=2), power.sum(axis=2), where, largest)
