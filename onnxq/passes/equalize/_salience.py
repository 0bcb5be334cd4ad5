"""What rounding weights alone leaves of the outputs of the layers that read some channels.

With factors a of its input channels a layer has the weights w' = w / a, which are rounded, and
reads a · x. In the units of before, with the second moments H = E[x xᵀ] of what it reads, that is

    noise(a) = tr(E H Eᵀ) / tr(W H Wᵀ),      E = Q(W / a) · a − W

so that samples are needed once, for H, however many factors are tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.graph.deferred import peek
from onnxq.passes.correct._layers import UNREAD, Layer, geometry
from onnxq.passes.correct._moments import moments
from onnxq.passes.equalize._blocks import Block
from onnxq.passes.equalize._ends import Array, Ids, spread_columns
from onnxq.pipeline import Context
from onnxq.quant import QuantSpec
from onnxq.quant.blocks import block_params
from onnxq.quant.second_order import objective

Matrix = NDArray[np.float32]
_MOST = 1 << 18
"""Weights of a layer that factors are tried on: with more, some output channels, evenly apart."""


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
        made = self._power(real - self.layer.weight, held)
        return made / self._signal[held] if self._signal[held] > 0 else 0.0

    @cached_property
    def _signal(self) -> tuple[float, float]:
        """tr(W H Wᵀ) on samples, and on those held out."""
        fitted, held = (self._power(self.layer.weight, on) for on in (False, True))
        return fitted, held

    def _power(self, weight: Matrix, held: bool) -> float:
        h = self.held if held else self.fitted
        return float(objective(self.layer.rows(weight).astype(np.float32), h).sum())


def saliences(
    blocks: Sequence[tuple[Block, dict[str, QuantSpec]]],
    model: Model,
    ctx: Context,
    *,
    samples: int,
    patches: int,
    columns: int,
) -> Iterator[tuple[Block, list[Salience]]]:
    """Each block with its measured layers, some layers in memory at a time.

    Args:
        blocks: with specs by name of the layer; layers without one stay in float.
        model: where they are.
        ctx: what runs it.
        samples: how many samples are measured, from the first on.
        patches: of each sample, how many rows a layer is measured on, at most.
        columns: layers with more values in a patch are left out.
    """
    own = [(block, list(_layers(block, specs, columns, ctx))) for block, specs in blocks]
    every = [layer for _, layers in own for layer, _ in layers]
    found = moments(every, model, ctx, samples=samples, patches=patches)
    for block, layers in own:
        result = []
        for (layer, ids), (_, state) in zip(layers, islice(found, len(layers)), strict=True):
            if state.fitted.count:
                h = state.fitted.second()
                held = state.held.second() if state.held.count else h
                result.append(Salience(replace(layer, weight=_some(layer)), ids, h, held))
        yield block, result


def _some(layer: Layer) -> Matrix:
    """The weight of *layer*, of a large one with fewer output channels."""
    weight = peek(layer.node.inputs[1])
    apart = 1 if layer.groups > 1 else -(-weight.size // _MOST)
    return np.ascontiguousarray(weight[(slice(None),) * layer.axis + (slice(None, None, apart),)])


def _layers(
    block: Block, specs: Mapping[str, QuantSpec], columns: int, ctx: Context
) -> Iterator[tuple[Layer, Ids]]:
    """The layers of *block* that can be measured, with the variables that they read."""
    for reader in block.readers:
        spec, shape = specs.get(reader.node.name), geometry(reader.node, ctx)
        if spec is None or isinstance(shape, str):
            continue
        layer = Layer(reader.node, UNREAD, spec, *shape)
        if layer.columns <= columns:
            yield layer, reader.ids
