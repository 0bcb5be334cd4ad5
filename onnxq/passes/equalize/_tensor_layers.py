"""The layers of a model as ``_by_tensor`` wants them, and the search over all blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.calibrate.parted_extremes import PartedExtremes
from onnxq.graph import attribute, constant_value
from onnxq.passes.equalize._balance import Array
from onnxq.passes.equalize._blocks import Block
from onnxq.passes.equalize._by_tensor import SWEEPS, Layer, sweep
from onnxq.passes.equalize._channels import Channels
from onnxq.pipeline import Context
from onnxq.pipeline.gains import reading_gains
from onnxq.quant import ScaleRule

T = TypeVar("T", np.float64, np.int64)
Limits = tuple[Array, Array]


def inputs(channels: Channels) -> set[str]:
    """Names of the tensors that layers read which take part."""
    nodes = [s.conv for s in channels.sources] + [r.node for r in channels.readers]
    return {node.inputs[0].name for node in nodes}


def layers(channels: Channels, ctx: Context) -> dict[int, Layer]:
    """By node id, the layers that read or write variables."""
    reads = {id(r.node): r for r in channels.readers}
    writes = {id(s.conv): s for s in channels.sources}
    nodes = {id(n): n for n in [s.conv for s in channels.sources]}
    nodes |= {id(r.node): r.node for r in channels.readers}
    one = channels.count
    found = {}
    for key, node in nodes.items():
        read, written = reads.get(key), writes.get(key)
        weight = np.asarray(constant_value(node.inputs[1]), np.float64)
        axis = 1 if read is None else read.axis
        weight = weight if axis == 1 else weight.T
        groups = int(attribute(node, "group", 1)) if node.op == "Conv" else 1
        outputs, columns = weight.shape[:2]
        ids = np.full(columns * groups, one) if read is None else read.ids
        reach = _reach(node, columns * groups, ctx)
        flat = weight.reshape(outputs, columns, -1)
        gains = None if written is None else reading_gains(node.outputs[0], outputs)
        found[key] = Layer(
            np.abs(flat).max(axis=2),
            np.square(flat).sum(axis=2),
            _by_output(ids, groups, outputs),
            np.full(outputs, one) if written is None else written.ids,
            _by_output(reach, groups, outputs),
            np.ones(outputs) if gains is None or not gains.any() else gains,
            flat.shape[2],
        )
    return found


def choose(
    channels: Channels, ctx: Context, open_: Sequence[Block], limits: Mapping[int, Limits]
) -> tuple[Array, dict[int, float]]:
    """Factors of all variables, and by place of a block the share of noise that is left.

    *limits* are the lowest and highest factors of each root, by place of the block in *open_*.
    """
    by_node = layers(channels, ctx)
    a = np.ones(channels.count + 1)
    binary = ctx.target.weights.scale is ScaleRule.POWER_OF_TWO
    left = dict.fromkeys(range(len(open_)), 1.0)
    near = []
    for block in open_:
        own = [id(s.conv) for s in block.sources] + [id(r.node) for r in block.readers]
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
    seen = ctx.statistics.get(node.inputs[0].name, PartedExtremes()).fitted
    return seen if seen.size == count else np.ones(count)


def _by_output(values: NDArray[T], groups: int, outputs: int) -> NDArray[T]:
    """*values* [channels] as [outputs, channels of the group]."""
    return np.repeat(values.reshape(groups, -1), outputs // groups, axis=0)
