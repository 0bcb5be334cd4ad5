"""The layers of a model as ``_by_tensor`` wants them, and the search over all blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.calibrate.parted_extremes import PartedExtremes
from onnxq.passes.equalize._balance import Array
from onnxq.passes.equalize._blocks import Block
from onnxq.passes.equalize._by_tensor import SWEEPS, Layer, sweep
from onnxq.passes.equalize._channels import Channels
from onnxq.passes.equalize._ends import CONVOLUTIONS, groups_of, rows_of
from onnxq.pipeline import Context
from onnxq.pipeline.gains import reading_gains
from onnxq.quant import ScaleRule

T = TypeVar("T", np.float64, np.int64)
Limits = tuple[Array, Array]


def inputs(channels: Channels, open_: Sequence[Block]) -> dict[str, int]:
    """By name, the axis of channels of the tensors that the layers of blocks read."""
    nodes = _nodes(open_)
    names = {node.inputs[0].name: _axis(node, channels.ctx) for node in nodes.values()}
    return {name: axis for name, axis in names.items() if axis}


def layers(channels: Channels, open_: Sequence[Block]) -> dict[int, Layer]:
    """By node id, the layers that read or write variables of blocks."""
    reads = {id(r.node): r for r in channels.readers}
    writes = {id(s.node): s for s in channels.sources}
    one = channels.count
    found = {}
    for key, node in _nodes(open_).items():
        read, written = reads.get(key), writes.get(key)
        rows, groups = rows_of(node), groups_of(node)
        outputs, columns, taps = rows.shape
        ids = np.full(columns * groups, one) if read is None else read.ids
        reach = _reach(node, columns * groups, channels.ctx)
        gains = None if written is None else reading_gains(node.outputs[0], outputs)
        found[key] = Layer(
            np.abs(rows).max(axis=2),
            np.square(rows).sum(axis=2),
            _by_output(ids, groups, outputs),
            np.full(outputs, one) if written is None else written.ids,
            _by_output(reach, groups, outputs),
            np.ones(outputs) if gains is None or not gains.any() else gains,
            taps,
        )
    return found


def _nodes(open_: Sequence[Block]) -> dict[int, gs.Node]:
    nodes = [s.node for block in open_ for s in block.sources]
    nodes += [r.node for block in open_ for r in block.readers]
    return {id(node): node for node in nodes}


def _axis(node: gs.Node, ctx: Context) -> int:
    """The axis of the channels that *node* reads; 0 where the rank of its input is not known."""
    return 1 if node.op in CONVOLUTIONS else max((ctx.rank(node.inputs[0]) or 1) - 1, 0)


def choose(
    channels: Channels, ctx: Context, open_: Sequence[Block], limits: Mapping[int, Limits]
) -> tuple[Array, dict[int, float]]:
    """Factors of all variables, and by place of a block the share of noise that is left.

    *limits* are the lowest and highest factors of each root, by place of the block in *open_*.
    """
    by_node = layers(channels, open_)
    a = np.ones(channels.count + 1)
    binary = ctx.target.weights.scale is ScaleRule.POWER_OF_TWO
    left = dict.fromkeys(range(len(open_)), 1.0)
    near = []
    for block in open_:
        own = [id(s.node) for s in block.sources] + [id(r.node) for r in block.readers]
        near.append([by_node[key] for key in dict.fromkeys(own)])
    for _ in range(SWEEPS):
        for number, block in enumerate(open_):
            of_root = block.where(block.members)
            chosen, share = sweep(near[number], block.members, of_root, a, limits[number], binary)
            a[block.members] = chosen[of_root]
            left[number] *= share
    return a[:-1], left


def _reach(node: gs.Node, count: int, ctx: Context) -> Array:
    """Largest |x| of each input channel of *node*, float64 [count]."""
    seen = ctx.statistics.get(node.inputs[0].name, PartedExtremes(_axis(node, ctx))).fitted
    return seen if seen.size == count else np.ones(count)


def _by_output(values: NDArray[T], groups: int, outputs: int) -> NDArray[T]:
    """*values* [channels] as [outputs, channels of the group]."""
    return np.repeat(values.reshape(groups, -1), outputs // groups, axis=0)
