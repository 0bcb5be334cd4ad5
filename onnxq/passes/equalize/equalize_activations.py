"""The pass ``equalize-activations``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.calibrate.channel_extremes import ChannelExtremes
from onnxq.calibrate.observer import AnyObserver
from onnxq.graph import Model
from onnxq.passes.equalize._blocks import Block, apply, blocks
from onnxq.passes.equalize._channels import LAST, Channels
from onnxq.passes.equalize._ends import CONVOLUTIONS, Array, Ids
from onnxq.passes.equalize._guard import Layers
from onnxq.passes.equalize._migrate import migrate
from onnxq.passes.equalize._paired import choose_factors, find_pairs, rows_of_pairs
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class EqualizeActivations(Pass):
    """Move range from activations into the weights of the MatMul and Gemm that read them.

    What it does
        Scales channels of what a LayerNorm, RMSNorm, Mul by a constant, MatMul or Gemm writes by
        a, in its gain and bias or its weights, and divides the weights of all layers that read
        them by a; attention's values too, through the product with its probabilities, up to the
        output projection, head by head. Of queries and keys one is multiplied by what the other
        is divided by. How far to go is tried, group by group, on samples: what counts is the
        noise behind the layers that read, inputs and weights rounded as planned.

    Why
        Some channels of a transformer's activations are a hundred times larger than the others,
        and one step has to do for all of them. Weights have room for it.

    Example
        ``LayerNormalization(x, g, b)  MatMul(w)`` becomes
        ``LayerNormalization(x, a·g, a·b)  MatMul(w / a)``.

    When it declines
        Channels reach something else than layers with stored weights (a residual sum, a Softmax,
        an output of the graph), or weights are shared; or the noise on samples held out does not
        go down by a fiftieth: the reason has both numbers. Groups with a convolution are left to
        ``equalize-cross-layer``.

    Numerics
        The same function up to rounding in float32. Factors and their reciprocals are at most
        *cap*; they are fitted on three of four of the first samples and judged on the fourth.

    Source
        Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
        Language Models", section 4; the search as in Lin et al. 2023, "AWQ", section 3.2.

    Attributes:
        cap: the largest factor, at least 1.
        pairs: whether queries and keys are scaled too.
    """

    name: ClassVar[str] = "equalize-activations"
    stage: ClassVar[Stage] = Stage.EQUALIZE
    preserves: ClassVar[float | None] = 1e-4
    needs_samples: ClassVar[bool] = True

    cap: float = 256.0
    pairs: bool = True

    def wants(self, model: Model, ctx: Context) -> Mapping[str, tuple[AnyObserver, ...]]:
        """Channel extremes of what the layers of groups read."""
        open_, _ = self._groups(Channels.find(model, ctx))
        return {name: (o,) for name, o in _observed(open_, ctx).items()}

    def run(self, model: Model, ctx: Context) -> None:
        """Choose factors group by group, then scale sources and readers."""
        channels = Channels.find(model, ctx)
        a = np.ones(channels.count)
        open_, closed = self._groups(channels)
        for block in closed:
            for source in block.sources:
                ctx.decline(source.node, block.reason)
        if open_:
            self._migrate(channels, open_, a, ctx)
        if self.pairs:
            self._pair(channels, a, ctx)
        if (a != 1).any():
            apply(channels, a)

    def _groups(self, channels: Channels) -> tuple[list[Block], list[Block]]:
        """Groups that can be scaled, and those that cannot and something is to be said about."""
        open_, closed = [], []
        for block in blocks(channels, gated=False):
            nodes = [s.node for s in block.sources] + [r.node for r in block.readers]
            if any(node.op in CONVOLUTIONS for node in nodes):
                continue
            last = not block.readers and block.reason.endswith(LAST)
            if not block.reason:
                open_.append(block)
            elif not last and not self._paired(block, channels):
                closed.append(block)
        return open_, closed

    def _paired(self, block: Block, channels: Channels) -> bool:
        """Whether *block* is one side of a pair, which ``_pair`` is about."""
        return self.pairs and any(
            np.isin(block.members, ids).any() for _, *both in channels.pairs for ids in both
        )

    def _migrate(self, channels: Channels, open_: list[Block], a: Array, ctx: Context) -> None:
        layers = Layers(channels, open_, ctx)
        seen = {n: ctx.statistics.get(n, o) for n, o in _observed(open_, ctx).items()}
        layers.cover(seen)
        for block in open_:
            chosen, strength = migrate(block, layers, a, self.cap)
            whole = a.copy()
            whole[block.members] = chosen[block.where(block.members)]
            before, after = (layers.noise(block, v, held=True) for v in (a, whole))
            if strength and after < _WORTH * before:
                a[block.members] = whole[block.members]
                continue
            reason = _why(before, after) if strength else "no strength lowers the noise on samples"
            for source in block.sources:
                ctx.decline(source.node, reason)

    def _pair(self, channels: Channels, a: Array, ctx: Context) -> None:
        found, roots = find_pairs(channels), channels.roots()
        for pair in found:
            if pair.reason:
                ctx.decline(pair.node, pair.reason)
        chosen = [pair for pair in found if not pair.reason]
        for pair, rows in zip(chosen, rows_of_pairs(chosen, channels, ctx), strict=True):
            s, before, after = choose_factors(pair, rows, roots, ctx, self.cap)
            if after < _WORTH * before:
                a[_all(pair.one, roots)] = _spread(pair.one, s, roots)
                a[_all(pair.two, roots)] = _spread(pair.two, 1 / s, roots)
            else:
                ctx.decline(pair.node, _why(before, after))


def _observed(open_: list[Block], ctx: Context) -> dict[str, ChannelExtremes]:
    """By tensor that the layers of *open_* read, what is measured of its last axis."""
    tensors = [r.node.inputs[0] for block in open_ for r in block.readers]
    return {t.name: ChannelExtremes((ctx.rank(t) or 1) - 1) for t in tensors}


_WORTH = 0.98
"""What the noise has to fall to, as a share of what it was."""


def _why(before: float, after: float) -> str:
    return f"noise to signal on samples held out is {before:.3g} and would be {after:.3g}"


def _all(ids: Ids, roots: Ids) -> Ids:
    """All variables that are coupled to one of *ids*."""
    return np.flatnonzero(np.isin(roots, roots[ids]))


def _spread(ids: Ids, factors: Array, roots: Ids) -> Array:
    """*factors* of *ids* for ``_all`` of them."""
    by_root = np.ones(roots.size)
    by_root[roots[ids]] = factors
    return by_root[roots[_all(ids, roots)]]
