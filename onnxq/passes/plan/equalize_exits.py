"""The pass ``equalize-exits``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.calibrate.channel_extremes import ChannelExtremes, ChannelExtremesState
from onnxq.graph import Model, constant_value, consumers, is_constant, replace_input
from onnxq.passes._scope import Scope
from onnxq.passes.equalize._ends import Array, spread_outputs
from onnxq.passes.equalize._factors import DEAD
from onnxq.passes.plan._borders import LEAST_VALUES, may_scale, values_of
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.kernel_plan import plan_kernels
from onnxq.pipeline.scaled import note_scaled
from onnxq.quant import PerAxis, QuantSpec

_AVERAGED = 64
"""Values whose average has hardly any of their rounding: its power is a 64th, 18 dB less."""


@dataclass(frozen=True, kw_only=True)
class EqualizeExits(Pass):
    """Even out the channels of what integer layers hand on to float operators.

    What it does
        Where nothing but float operators reads the result y of an integer layer, scales its
        channels by the largest factors a ≥ 1 that leave the range of the tensor as it is, in the
        weights and the bias of the layer, and puts a product with 1 / a behind it. Channels then
        have a step each, for the product costs no node: DequantizeLinear takes it into its scale
        (see 'hold-gates'). Weights have a scale for each output channel in any case.

    Why
        A tensor has one step, which its widest channel sets. Layers behind that multiply narrow
        channels by large weights, as depthwise ones with a folded batch-norm do, read nothing but
        rounding of them.

    Example
        ``Conv(w, b) → HardSwish`` becomes ``Conv(a·w, a·b) → Mul(1/a) → HardSwish``.

    When it declines
        Integers read the result too, or an output of the graph is made of it; a Clip that the
        kernel takes in has an end that is not 0; weights have one scale for all channels; grids
        were chosen in training; a factor for each channel is there already; samples have too few
        values of a channel, as behind a global pooling; ranges are within *ratio*; other runtimes
        than ONNX Runtime; a global average of 64 values or more is all that reads the result:
        rounding averages out there.

    Numerics
        The same function up to rounding in float32. Factors are at most *cap*.

    Source
        Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
        Correction", section 4.1; that float readers need no other layer to take the factor back is
        this pass's own.

    Attributes:
        cap: the largest factor, at least 1.
        ratio: the least median factor.
        samples: how many samples ranges are measured on.
    """

    name: ClassVar[str] = "equalize-exits"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 1e-4
    needs_samples: ClassVar[bool] = True

    cap: float = 256.0
    ratio: float = 1.25
    samples: int = 24

    def run(self, model: Model, ctx: Context) -> None:
        """Choose factors tensor by tensor, scale layers and put products in."""
        if not may_scale(ctx):
            return
        exits = list(_exits(model, ctx, self.samples))
        wanted = {t.name: (ChannelExtremes(),) for _, t in exits}
        found = ctx.observe_apart(model, wanted, self.samples) if wanted else ctx.statistics
        scope, changed = Scope(model), False
        for node, tensor in exits:
            state = found.get(tensor.name, ChannelExtremes())
            spec = ctx.plan.tensors[tensor.name]
            gated = isinstance(spec, QuantSpec) and spec.through == "silu"
            a = _factors(state, self.cap, gated=gated)
            if not a.size or np.median(a) < self.ratio:
                ctx.decline(node, f"the ranges of its channels are within {self.ratio:g}:1")
                continue
            _put(scope, node, tensor, a, ctx)
            changed = True
        if changed:
            plan_kernels(model, ctx)


def _factors(state: ChannelExtremesState, cap: float, *, gated: bool) -> Array:
    """The largest factors that leave the range of the tensor as it is, [channels].

    Both ends of each channel stay within those of the widest channels: were a channel of negative
    values stretched as far as the largest positive one, the step of all would become coarser.
    """
    low = np.maximum(-np.nan_to_num(state.low.astype(np.float64)), 0.0)
    high = np.maximum(np.nan_to_num(state.high.astype(np.float64)), 0.0)
    if gated:
        low = np.minimum(low, DEAD)
    if not low.size:
        return low
    tiny = np.finfo(np.float32).tiny
    room = [np.where(v > 0, v.max() / np.maximum(v, tiny), np.inf) for v in (low, high)]
    a = np.minimum(*room)
    return np.asarray(np.where(np.isfinite(a), np.clip(a, 1.0, cap), 1.0))


def _exits(model: Model, ctx: Context, samples: int) -> Iterator[tuple[gs.Node, gs.Tensor]]:
    """Integer layers whose results float operators alone read, and these results."""
    plan, by_name = ctx.plan, {node.name: node for node in model.graph.nodes}
    for node in list(model.graph.nodes):
        planned = plan.nodes.get(node.name)
        if planned is None or not planned.outputs or node.op not in ("Conv", "ConvTranspose"):
            continue
        end = by_name[planned.absorbs[-1]] if planned.absorbs else node
        tensor = end.outputs[0]
        spec, weight = plan.tensors.get(tensor.name), plan.tensors.get(node.inputs[1].name)
        users = consumers(tensor)
        inner = any(
            n.name in plan.nodes and i in plan.nodes[n.name].inputs for n, i in users
        ) or model.is_output(tensor)
        if inner or not users or not isinstance(spec, QuantSpec):
            continue
        values = values_of(tensor, 1, ctx)
        if not isinstance(weight, QuantSpec) or not isinstance(weight.granularity, PerAxis):
            ctx.decline(node, "its weights have one scale for all channels")
        elif not all(is_constant(t) for t in node.inputs[1:] if not t.is_empty()):
            ctx.decline(node, "its weights are computed")
        elif spec.limits is not None and any(v and np.isfinite(v) for v in spec.limits):
            ctx.decline(node, f"its results end at {max(spec.limits):g}")
        elif any(_by_channel(n) for n, _ in users):
            ctx.decline(node, "a factor for each channel is there already")
        elif values >= _AVERAGED and all(n.op == "GlobalAveragePool" for n, _ in users):
            ctx.decline(node, f"only averages of {values} values read it: rounding averages out")
        elif (seen := samples * values) < LEAST_VALUES:
            ctx.decline(node, f"{seen} values of each channel tell too little")
        else:
            yield node, tensor


def _by_channel(node: gs.Node) -> bool:
    """Whether *node* multiplies by a constant for each channel."""
    values = [constant_value(t) for t in node.inputs] if node.op == "Mul" else []
    return any(v is not None and v.size > 1 for v in values)


def _put(scope: Scope, node: gs.Node, tensor: gs.Tensor, a: Array, ctx: Context) -> None:
    """Let the layer *node*, whose result is *tensor*, write it times *a*, and a product divide."""
    model = scope.model
    a = np.asarray(a.astype(np.float32), np.float64)
    for index in (1, 2):
        if index < len(node.inputs) and not node.inputs[index].is_empty():
            value = np.asarray(constant_value(node.inputs[index]), np.float64)
            factor = a if index == 2 else spread_outputs(node, a)
            scope.set_constant(node, index, (value * factor).astype(np.float32))
    rank = len(node.inputs[1].shape)
    plain = gs.Variable(model.unique_name(f"{tensor.name}__plain"), tensor.dtype, tensor.shape)
    k = gs.Constant(
        model.unique_name(f"{tensor.name}__uneven"),
        (1 / a).reshape(1, -1, *[1] * (rank - 2)).astype(np.float32),
    )
    product = model.unique_name(f"{tensor.name}__uneven")
    for user, index in consumers(tensor):
        replace_input(user, index, plain)
    scope.insert(tensor.inputs[0], "Mul", [tensor, k], [plain], name=product)
    if tensor.name in ctx.facts:
        ctx.facts[plain.name] = ctx.facts[tensor.name]
    # behind an activation that the kernel takes in, what it reads is scaled too
    scaled = [node.outputs[0], *(() if tensor is node.outputs[0] else (tensor,))]
    states = {n: s for n, s in ctx.statistics.states.items() if n not in {t.name for t in scaled}}
    ctx.statistics = replace(ctx.statistics, states=states)
    note_scaled(model, {t.name: a for t in scaled})
    ctx.plan.excluded[product] = "it becomes part of the scale of DequantizeLinear"
    ctx.added.add(product)
