"""round-weights-second-order: codes of weights in blocks that make the output's error small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.patch_moments import PatchMomentsState
from onnxq.graph import Model
from onnxq.graph.deferred import peek
from onnxq.graph.spilled import Spill
from onnxq.passes.correct._layers import UNREAD, Layer, geometry
from onnxq.passes.correct._moments import moments
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import QuantSpec
from onnxq.quant.blocks import Blocks
from onnxq.quant.pairs import from_kernel_rows
from onnxq.quant.second_order import (
    WIDE,
    Codes,
    by_activity,
    damp,
    descend,
    feedback,
    objective,
    round_by_feedback,
)

Array = NDArray[np.float32]
_OPS = ("MatMul", "Gemm", "Conv")
_TRIALS = ((0.01, True), (0.01, False), (0.1, True), (0.1, False))
"""Damping, and whether columns are rounded by falling activity."""
_SWEEPS = 3
"""One has to do where there is one trial."""
_PART = 1 << 21
"""Weights that are rounded at once."""


@dataclass(frozen=True, kw_only=True)
class RoundWeightsSecondOrder(Pass):
    """Round weights in blocks so that their errors cancel in the layer's output.

    What it does
        Measures the products of the values that each layer reads. Then its weights are rounded
        column by column: what one code is off by, the columns that come later make up for; then
        single codes move as long as the error of the output falls. Damping and order are chosen
        on samples held out, some output channels at a time.

    Why
        With four bits, rounding each weight to nearest leaves most of the error that need not be.

    Example
        ``round-weights{method=mse},round-weights-second-order,store-weights``

    When it declines
        Layers in sub-graphs, which are not observed; shared weights; floating-point codes; a patch
        of too many values; and layers where no rounding lowers the error on samples held out.

    Numerics
        Scales and zero points stay. Codes of large layers wait in temporary files; second
        moments are those of a few layers at a time. They are not taken around the mean: no bias
        is corrected for what rounding does to it. Layers of more than 2048 columns have one trial.

    Source
        Frantar et al. 2022, "GPTQ", https://arxiv.org/abs/2210.17323; Behdin et al. 2023,
        "QuantEase", https://arxiv.org/abs/2309.01885; ``onnxq.quant.second_order``.

    Attributes:
        samples: how many samples are measured, from the first on.
        patches: of each sample, how many rows a layer is measured on, at most.
        columns: layers with more values in a patch are left.
    """

    name: ClassVar[str] = "round-weights-second-order"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0
    needs_samples: ClassVar[bool] = True

    samples: int = 64
    patches: int = 256
    columns: int = 4608

    def run(self, model: Model, ctx: Context) -> None:
        layers = self._layers(model, ctx)
        read = moments(layers, model, ctx, samples=self.samples, patches=self.patches)
        spill = Spill()
        for layer, state in read:
            codes = _round(layer, ctx.blocks[layer.name], state)
            if codes is None:
                ctx.decline(layer.node, "no rounding lowers its error on samples held out")
            else:
                ctx.integers[layer.name] = spill.keep(codes)

    def _layers(self, model: Model, ctx: Context) -> list[Layer]:
        """Planned layers of the main graph; others are declined."""
        ctx.learn(model)
        found, inside = [], {id(n) for n in model.graph.nodes}
        for node in model.nodes():
            if node.op not in _OPS or node.name not in ctx.plan.nodes or len(node.inputs) < 2:
                continue
            weight = node.inputs[1]
            spec = ctx.plan.tensors.get(weight.name)
            if weight.name not in ctx.blocks or not isinstance(spec, QuantSpec):
                continue
            reason = "" if id(node) in inside else "tensors of sub-graphs are not observed"
            if spec.dtype.floating:
                reason = f"the steps of {spec.dtype} are uneven"
            shape = reason or geometry(node, ctx)
            if isinstance(shape, str):
                ctx.decline(node, shape)
                continue
            layer = Layer(node, UNREAD, spec, *shape)
            if layer.columns > self.columns:
                ctx.decline(node, f"its patches have {layer.columns} values each")
                continue
            found.append(layer)
        return found


def _round(layer: Layer, grid: Blocks, read: PatchMomentsState) -> NDArray[np.generic] | None:
    """The best codes for *layer* on the samples held out; None where the nearest are the best."""
    if not read.fitted.count:
        return None
    weight = peek(layer.node.inputs[1])
    h = read.fitted.second()
    test = read.held.second() if read.held.count else h
    codes = grid.quantize(weight)
    parts = [_Rows(layer, grid, weight, codes, cut) for cut in _cuts(layer)]
    least = [part.error(part.nearest, test) for part in parts]
    wide, better = layer.columns > WIDE, False
    for share, active in _TRIALS[:1] if wide else _TRIALS:
        columns = np.broadcast_to(np.arange(layer.columns), (len(h), layer.columns))
        damped, order = damp(h, share), by_activity(h) if active else columns
        handed_on = feedback(damped, order)
        for i, part in enumerate(parts):
            found = part.rounded(damped, order, handed_on, 1 if wide else _SWEEPS)
            error = part.error(found, test)
            if error < least[i]:
                least[i], better = error, True
                part.put(found, codes)
    return codes if better else None


def _cuts(layer: Layer) -> list[slice]:
    """The output channels of *layer*, as many at once as bear rounding in little memory."""
    channels = int(layer.node.inputs[1].shape[layer.axis])
    step = channels if layer.groups > 1 else max(_PART // layer.columns, 1)
    return [slice(i, min(i + step, channels)) for i in range(0, channels, step)]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some output channels of a layer, with arrays [groups, channels, K] made when asked for."""

    layer: Layer
    grid: Blocks
    weight: NDArray[Any]
    codes: NDArray[Any]
    cut: slice

    def _part(self, values: NDArray[Any]) -> NDArray[Any]:
        return values[(slice(None),) * self.layer.axis + (self.cut,)]

    def _rows(self, values: NDArray[Any]) -> Array:
        return np.asarray(self.layer.rows(np.asarray(self._part(values))), np.float32)

    def _spread(self, values: NDArray[Any]) -> Array:
        shape = tuple(self.weight.shape)
        return self._rows(np.broadcast_to(self.grid.spread(values, shape), shape))

    @property
    def nearest(self) -> Array:
        """The codes that stand, without the zero point."""
        return self._rows(self.codes) - self._spread(self.grid.zero_point)

    def error(self, found: Array, h: Array) -> float:
        """J of all rows with the codes *found*."""
        steps = self._spread(self.grid.scale)
        return float(objective(found * steps - self._rows(self.weight), h).sum())

    def rounded(
        self, h: Array, order: NDArray[np.int64], handed_on: Array, sweeps: int
    ) -> Array:  # fmt: skip
        """Codes that make J small on *h*, without the zero point."""
        grid, w, steps = self.grid, self._rows(self.weight), self._spread(self.grid.scale)
        zero, limit = self._spread(grid.zero_point), grid.spec.pair_sum_limit
        allowed = Codes(np.float32(grid.qmin) - zero, np.float32(grid.dtype.qmax) - zero, limit)
        # rows of one scale are rounded in units of it, which pairs of codes are limited in
        units: Array = steps if grid.count == 1 else np.ones_like(steps)
        own = None if grid.count == 1 else steps
        q = round_by_feedback(w / units, h, allowed, order, own, handed_on)
        if grid.dtype.bits <= 6:
            q = descend(q, w / units, h, allowed, sweeps, own)
        return np.asarray(np.rint(q * units / steps), np.float32)

    def put(self, found: Array, codes: NDArray[Any]) -> None:
        """Write *found* into *codes*."""
        flat = (found + self._spread(self.grid.zero_point)).reshape(-1, found.shape[-1])
        target = self._part(codes)
        whole = from_kernel_rows(flat, target.shape, self.layer.axis, self.layer.inner)
        target[...] = whole.astype(np.int16).astype(codes.dtype)
