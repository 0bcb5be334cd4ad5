"""Factors are kept only where what rounding leaves goes down on real samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.calibrate.channel_extremes import ChannelExtremesState
from onnxq.calibrate.patch_samples import PatchSamples
from onnxq.passes.equalize._balance import rounded_down
from onnxq.passes.equalize._blocks import Block
from onnxq.passes.equalize._channels import Channels
from onnxq.passes.equalize._ends import LINEAR, Array
from onnxq.passes.equalize._measure import Measured, covered, measured, samples_of
from onnxq.pipeline import Context
from onnxq.quant import PerAxis

POWERS = (0.0, 0.5, 0.75, 1.0)


def guarded(ctx: Context) -> bool:
    """Whether there are samples, and they are to be run for this."""
    return ctx.measure is not None and not (ctx.estimated or ctx.statistics_only)


def settle(
    channels: Channels,
    chosen: Sequence[Block],
    a: Array,
    ctx: Context,
    among: Sequence[Block] = (),
) -> Iterator[tuple[Block, float, float]]:
    """Raise the factors *a* [variables] of each block to the power that leaves the least noise.

    Powers that are tried are 0, ½, ¾ and, where the noise still falls from ½ to ¾, 1, block by
    block, on samples. Yields the blocks that end with 0, with the noise to signal that they leave
    and what the highest power tried would have left. Nothing changes where ``guarded`` says no.
    Where the blocks were chosen *among* some whose ``patches`` were measured, those are used.
    """
    if not guarded(ctx) or not chosen:
        return
    layers = Layers(channels, chosen, ctx, among)
    # a row of a weight and its scale grow by the same factor: those who write have the same noise
    written = not by_channel(ctx)
    for block in chosen:
        if not layers.of(block, written=written):
            continue
        noises: list[float] = []
        trials: list[Array] = []
        for power in POWERS:
            if power == POWERS[-1] and noises[-1] >= noises[-2]:
                break
            trials.append(_raised(a, block, power))
            noises.append(layers.noise(block, trials[-1], written=written))
        best = int(np.argmin(noises))
        a[block.members] = trials[best][block.members]
        if POWERS[best] == 0:
            yield block, noises[best], noises[-1]


def _raised(a: Array, block: Block, power: float) -> Array:
    """*a* with the factors of *block* to the *power*, in half precision where they are above 1."""
    trial, own = a.copy(), np.power(a[block.members], power)
    trial[block.members] = np.where(own >= 1, rounded_down(np.maximum(own, 1)), own)
    return trial


def by_channel(ctx: Context) -> bool:
    """Whether weights have a scale for each output channel."""
    if ctx.plan.granularity is not None:
        return ctx.plan.granularity == "channel"
    return isinstance(ctx.target.weights.granularity, PerAxis)


def patches(open_: Sequence[Block], ctx: Context) -> list[tuple[str, PatchSamples]]:
    """What ``settle`` has to see of the layers around the blocks *open_*, by name of a tensor."""
    nodes = _ends(open_, ctx) if guarded(ctx) else []
    observers = samples_of(nodes)
    return [(node.inputs[0].name, observers[id(node)]) for node in nodes]


def _ends(chosen: Sequence[Block], ctx: Context) -> list[gs.Node]:
    """The layers that the factors of the blocks *chosen* make a difference to."""
    nodes = [r.node for block in chosen for r in block.readers]
    if not by_channel(ctx):  # with a scale for each output channel, what is written keeps its noise
        nodes += [s.node for block in chosen for s in block.sources if s.node.op in LINEAR]
    return nodes


class Layers:
    """The layers that read or write the variables of some blocks, measured."""

    def __init__(
        self,
        channels: Channels,
        chosen: Sequence[Block],
        ctx: Context,
        among: Sequence[Block] = (),
    ) -> None:
        self._reads = {id(r.node): r.ids for r in channels.readers}
        self._writes = {id(s.node): s.ids for s in channels.sources}
        observers = samples_of(_ends(among or chosen, ctx))
        self._layers = dict(measured(_ends(chosen, ctx), channels.model, ctx, observers))

    def cover(self, states: Mapping[str, ChannelExtremesState]) -> None:
        """Let the ranges of the inputs of MatMul and Gemm cover *states*, by name of the tensor."""
        self._layers = covered(self._layers, states)

    def of(self, block: Block, *, written: bool = True) -> list[Measured]:
        """The layers that read *block* and, where *written*, those that write it."""
        keys = [id(r.node) for r in block.readers]
        keys += [id(s.node) for s in block.sources if written]
        return [self._layers[key] for key in dict.fromkeys(keys) if key in self._layers]

    def noise(self, block: Block, a: Array, *, held: bool = False, written: bool = True) -> float:
        """Noise to signal under the factors *a* of what ``of`` gives, added up."""
        total = 0.0
        for layer in self.of(block, written=written):
            read, wrote = (ids.get(id(layer.node)) for ids in (self._reads, self._writes))
            total += layer.noise(
                None if read is None else a[read], None if wrote is None else a[wrote], held=held
            )
        return total
