"""The pass ``equalize-entries``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.calibrate.channel_extremes import ChannelExtremes, ChannelExtremesState
from onnxq.graph import Model, attribute, consumers, is_constant, producer, replace_input
from onnxq.passes._scope import Scope
from onnxq.passes.equalize._ends import Array, Reader, spread_columns
from onnxq.passes.equalize._measure import SAMPLES, Measured, covered, measured
from onnxq.passes.equalize._migrate import search
from onnxq.passes.plan._borders import LEAST_VALUES, may_scale, values_of
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.kernel_plan import plan_kernels
from onnxq.pipeline.scaled import note_scaled
from onnxq.threads import cores, in_order


@dataclass(frozen=True, kw_only=True)
class EqualizeEntries(Pass):
    """Even out the channels of float tensors that products of matrices read on integers.

    What it does
        Puts a product with a factor a > 0 for each channel between a float tensor that is about to
        be quantized and the MatMul and Gemm that read it, whose weights are divided by a. How far
        to go is tried, tensor by tensor, on samples: what counts is the noise behind the layers
        that read, inputs and weights rounded as planned.

    Why
        What a Gelu hands on has channels a hundred times larger than others, and no factor passes
        through a Gelu, nor is there a gain to put it into. One multiplication for each value read
        is little beside the product of matrices.

    Example
        ``Gelu → MatMul(w)`` becomes ``Gelu → Mul(a) → MatMul(w / a)``.

    When it declines
        Something on integers reads the tensor that is no MatMul or Gemm with a stored matrix (a
        convolution: 'equalize-cross-layer' is for these, and where it does not reach, factors
        found on samples made as many networks worse as better); grids were chosen in training;
        other runtimes than ONNX Runtime; samples have too few values of a channel; or the noise on
        samples held out does not go down by three tenths: the reason has both numbers.

    Numerics
        The same function up to rounding in float32. Factors and their reciprocals are at most
        *cap*; they are fitted on three of four of the first samples and judged on the fourth.

    Source
        Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
        Language Models", section 4; the product where there is no gain is this pass's own.

    Attributes:
        cap: the largest factor, at least 1.
    """

    name: ClassVar[str] = "equalize-entries"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 1e-4
    needs_samples: ClassVar[bool] = True

    cap: float = 256.0

    def run(self, model: Model, ctx: Context) -> None:
        """Choose factors tensor by tensor, then put products in and divide weights."""
        if not may_scale(ctx):
            return
        entries = dict(_entries(model, ctx))
        layers = measured([n for nodes in entries.values() for n in nodes], model, ctx)
        layers = covered(layers, _extremes(entries, model, ctx))
        found = {
            name: [layers[id(n)] for n in nodes]
            for name, nodes in entries.items()
            if all(id(n) in layers for n in nodes)
        }
        results = in_order(self._factors, list(found.values()), cores())
        scope, changed = Scope(model), False
        for (name, readers), (a, before, after) in zip(found.items(), results, strict=True):
            if after < _WORTH * before:
                _put(scope, name, [layer.node for layer in readers], a, ctx)
                changed = True
            else:
                ctx.decline(
                    readers[0].node,
                    f"noise to signal on samples held out is {before:.3g} and would be {after:.3g}",
                )
        if changed:
            plan_kernels(model, ctx)

    def _factors(self, readers: list[Measured]) -> tuple[Array, float, float]:
        """Factors [channels], and the noise on samples held out without and with them."""
        reach = np.max([layer.largest() for layer in readers], axis=0)
        ids = np.arange(reach.size)
        weights = np.max([Reader(layer.node, ids).magnitude() for layer in readers], axis=0)

        def noise(a: Array, *, held: bool = False) -> float:
            return sum(layer.noise(a, None, held=held) for layer in readers)

        a, _ = search(reach, weights, np.zeros(reach.size, bool), noise, self.cap)
        return a, noise(np.ones(reach.size), held=True), noise(a, held=True)


_WORTH = 0.7
"""What the noise has to fall to, as a share of what it was."""
_READERS = ("Gemm", "MatMul")


def _entries(model: Model, ctx: Context) -> Iterator[tuple[str, list[gs.Node]]]:
    """By name of a float tensor that is quantized, the layers that read it on integers."""
    plan = ctx.plan
    absorbed = {name for node in plan.nodes.values() for name in node.absorbs}
    for name, tensor in model.tensors().items():
        above = producer(tensor)
        if above is None or name not in plan.tensors or name in plan.rounded:
            continue
        if above.name in plan.nodes or above.name in absorbed:
            continue
        planned = [(n, i) for n, i in consumers(tensor) if n.name in plan.nodes]
        uses = [(n, i) for n, i in planned if i in plan.nodes[n.name].inputs]
        odd = [n for n, i in uses if i != 0 or n.op not in _READERS or not _stored(n)]
        if odd:
            ctx.decline(uses[0][0], f"'{odd[0].name}' ({odd[0].op}) reads '{name}' on integers too")
        elif uses:
            seen = SAMPLES * values_of(tensor, -1, ctx)
            if seen < LEAST_VALUES:
                ctx.decline(uses[0][0], f"{seen} values of each channel tell too little")
                continue
            yield name, [n for n, _ in uses]


def _stored(node: gs.Node) -> bool:
    matrix = is_constant(node.inputs[1]) and len(node.inputs[1].shape) == 2
    return matrix and not attribute(node, "transA", 0)


def _extremes(
    names: Mapping[str, object], model: Model, ctx: Context
) -> dict[str, ChannelExtremesState]:
    """Smallest and largest value of each channel, along the last axis, of the tensors *names*."""
    tensors = model.tensors()
    wanted = {n: ChannelExtremes((ctx.rank(tensors[n]) or 2) - 1) for n in names}
    if not wanted:
        return {}
    found = ctx.observe_apart(model, {n: (o,) for n, o in wanted.items()}, SAMPLES)
    return {n: found.get(n, o) for n, o in wanted.items()}


def _put(scope: Scope, name: str, readers: list[gs.Node], a: Array, ctx: Context) -> None:
    """Let *readers* read the tensor *name* times *a*, and divide their weights."""
    x, model = readers[0].inputs[0], scope.model
    k = gs.Constant(model.unique_name(f"{name}__even"), a.astype(np.float32))
    even = gs.Variable(model.unique_name(f"{name}__evened"), x.dtype, x.shape)
    product = model.unique_name(f"{name}__even")
    scope.insert(readers[0], "Mul", [x, k], [even], name=product)
    if name in ctx.facts:
        ctx.facts[even.name] = ctx.facts[name]
    axis = (ctx.rank(x) or 2) - 1
    note_scaled(model, {even.name: a if axis == 1 else a.reshape(*[1] * axis, -1)})
    ctx.plan.excluded[product] = "it evens out what integers read"
    ctx.added.add(product)
    for node in readers:
        replace_input(node, 0, even)
        weight = np.asarray(node.inputs[1].values, np.float64)
        scope.set_constant(node, 1, (weight * spread_columns(node, 1 / a)).astype(np.float32))
