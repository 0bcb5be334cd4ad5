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
    Codes,
    by_activity,
    damp,
    descend,
    objective,
    round_by_feedback,
)

Array = NDArray[np.float32]
_OPS = ("MatMul", "Gemm", "Conv")
_DAMPING = (0.01, 0.1)
_SWEEPS = 3


@dataclass(frozen=True, kw_only=True)
class RoundWeightsSecondOrder(Pass):
    """Round weights in blocks so that their errors cancel in the layer's output.

    What it does
        Measures the products of the values that each layer reads. Then its weights are rounded
        column by column: what one code is off by, the columns that come later make up for; then
        single codes move as long as the error of the output falls. Damping and order are chosen
        on samples held out.

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
        is corrected for what rounding does to it.

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
    shape = tuple(weight.shape)

    def rows(values: NDArray[Any]) -> Array:
        return np.asarray(layer.rows(np.asarray(values)), np.float32)

    zero = rows(np.broadcast_to(grid.spread(grid.zero_point, shape), shape))
    steps = rows(np.broadcast_to(grid.spread(grid.scale, shape), shape))
    nearest = grid.quantize(weight)
    w, now = rows(weight), rows(nearest.astype(np.float32))
    limit = grid.spec.pair_sum_limit
    allowed = Codes(np.float32(grid.qmin) - zero, np.float32(grid.dtype.qmax) - zero, limit)
    h = read.fitted.second()
    test = read.held.second() if read.held.count else h
    now = now - zero
    columns = np.broadcast_to(np.arange(w.shape[2]), (len(h), w.shape[2]))
    # rows of one scale are rounded in units of it, which pairs of codes are limited in
    units: Array = steps if grid.count == 1 else np.ones_like(steps)
    own = None if grid.count == 1 else steps
    best, least = now, objective(now * steps - w, test).sum()
    for share in _DAMPING:
        damped = damp(h, share)
        for order in (by_activity(h), columns):
            q = round_by_feedback(w / units, damped, allowed, order, own)
            if grid.dtype.bits <= 6:
                q = descend(q, w / units, damped, allowed, _SWEEPS, own)
            codes = np.rint(q * units / steps)
            error = objective(codes * steps - w, test).sum()
            if error < least:
                best, least = codes, error
    if best is now:
        return None
    flat = (best + zero).reshape(-1, best.shape[-1])
    whole = from_kernel_rows(flat, shape, layer.axis, layer.inner)
    return np.asarray(whole.astype(np.int16).astype(grid.stored))
