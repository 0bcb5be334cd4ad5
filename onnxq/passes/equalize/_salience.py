"""What rounding weights alone leaves of the outputs of the layers that read some channels.

With factors a of its input channels a layer has the weights w' = w / a, which are rounded, and
reads a · x. In the units of before, with the second moments H = E[x xᵀ] of what it reads, that is

    noise(a) = tr(E H Eᵀ) / tr(W H Wᵀ),      E = Q(W / a) · a − W

so that samples are needed once, for H, however many factors are tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.observer import gathered
from onnxq.calibrate.patch_moments import PatchMoments
from onnxq.graph import Model, constant_value
from onnxq.passes.correct._layers import Layer, geometry
from onnxq.passes.equalize._blocks import Block
from onnxq.passes.equalize._ends import Array, Ids, spread_columns
from onnxq.pipeline import Context
from onnxq.quant import QuantSpec
from onnxq.quant.blocks import block_params
from onnxq.quant.second_order import objective

Matrix = NDArray[np.float32]
_ELEMENTS = 25_000_000
"""Values of second moments in memory at once; each is held twice, in 4 bytes."""


@dataclass(frozen=True, eq=False)
class Salience:
    """A layer that reads channels of a block.

    Attributes:
        layer: the layer, with how its weight will be stored.
        ids: the variables of its input channels, int64 [channels].
        fitted, held: H on samples, and on those held out, [groups, K, K].
    """

    layer: Layer
    ids: Ids
    fitted: Matrix
    held: Matrix

    def power(self) -> Array:
        """E[x²] of each channel, float64 [channels]."""
        diagonal = np.einsum("gkk->gk", self.fitted).astype(np.float64)
        channels = self.ids.size // self.layer.groups
        by_tap = diagonal.reshape(self.layer.groups, -1, channels)
        return np.asarray(by_tap.mean(axis=1).reshape(-1))

    def magnitude(self) -> Array:
        """Mean square of the weights that read each channel, float64 [channels]."""
        rows = np.square(self.layer.rows(self.layer.weight), dtype=np.float64).mean(axis=1)
        channels = self.ids.size // self.layer.groups
        by_tap = rows.reshape(self.layer.groups, -1, channels)
        return np.asarray(by_tap.mean(axis=1).reshape(-1))

    def noise(self, a: Array, *, held: bool = False) -> float:
        """The noise with the factors *a* of all variables."""
        spread = spread_columns(self.layer.node, a[self.ids]).astype(np.float32)
        scaled = self.layer.weight / spread
        grid = block_params(scaled.shape, scaled, self.layer.spec, method="mse")
        real = grid.dequantize(grid.quantize(scaled)) * spread
        h = self.held if held else self.fitted
        error, exact = (
            objective(self.layer.rows(v).astype(np.float32), h).sum()
            for v in (real - self.layer.weight, self.layer.weight)
        )
        return float(error / exact) if exact > 0 else 0.0


def saliences(
    blocks: Sequence[tuple[Block, dict[str, QuantSpec]]],
    model: Model,
    ctx: Context,
    *,
    samples: int,
    patches: int,
    columns: int,
) -> Iterator[tuple[Block, list[Salience]]]:
    """Each block with its measured layers, some blocks in memory at a time.

    Args:
        blocks: with specs by name of the layer; layers without one stay in float.
        model: where they are.
        ctx: what runs it.
        samples: how many samples are measured, from the first on.
        patches: of each sample, how many rows a layer is measured on, at most.
        columns: layers with more values in a patch are left out.
    """
    waiting: list[tuple[Block, list[tuple[Layer, Ids]]]] = []
    size = 0
    for block, specs in blocks:
        layers = []
        for reader in block.readers:
            spec, shape = specs.get(reader.node.name), geometry(reader.node, ctx)
            if spec is None or isinstance(shape, str):
                continue
            weight = np.asarray(constant_value(reader.node.inputs[1]), np.float32)
            layer = Layer(reader.node, weight, spec, *shape)
            if layer.columns <= columns:
                layers.append((layer, reader.ids))
        own = sum(layer.elements for layer, _ in layers)
        if waiting and size + own > _ELEMENTS:
            yield from _measured(waiting, model, ctx, samples, patches)
            waiting, size = [], 0
        waiting.append((block, layers))
        size += own
    if waiting:
        yield from _measured(waiting, model, ctx, samples, patches)


def _measured(
    waiting: Sequence[tuple[Block, list[tuple[Layer, Ids]]]],
    model: Model,
    ctx: Context,
    samples: int,
    patches: int,
) -> Iterator[tuple[Block, list[Salience]]]:
    layers = [layer for _, own in waiting for layer, _ in own]
    wanted = [(y.node.inputs[0].name, PatchMoments(y.reads, patches)) for y in layers]
    found = ctx.observe_apart(model, gathered(wanted), samples) if wanted else ctx.statistics
    for block, own in waiting:
        result = []
        for layer, ids in own:
            state = found.get(layer.node.inputs[0].name, PatchMoments(layer.reads, patches))
            if state.fitted.count:
                h = state.fitted.second()
                held = state.held.second() if state.held.count else h
                result.append(Salience(layer, ids, h, held))
        yield block, result
