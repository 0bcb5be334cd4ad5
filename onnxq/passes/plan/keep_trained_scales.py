"""keep-trained-scales: give tensors the scales that quantization-aware training has chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from onnxq.errors import DataError, OptionError, UnsupportedModelError
from onnxq.graph import Model, constant_value, consumers, is_constant, producer
from onnxq.passes.plan._trained import activation_qparams, weight_qparams
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.kernel_plan import activation_spec, plan_kernels
from onnxq.pipeline.scale_groups import scale_groups
from onnxq.pipeline.trained import TrainedGrid
from onnxq.quant import Fixed, PerTensor, QuantSpec, Shared
from onnxq.targets import Role


@dataclass(frozen=True, kw_only=True)
class KeepTrainedScales(Pass):
    """Fix the scales and zero points that fake quantization has used in training.

    What it does
        Every planned activation that training has rounded keeps its grid, and every weight its
        codes: where a batch-norm was folded into it, the scale of each channel takes its factor,
        and a negative factor turns the signs of codes. Codes move to the format of the target
        (uint8 for int8) with the real values they stand for; of fewer bits, they stay the same
        few. In front of data movement a tensor has the grid of what is behind it. What training
        rounded and no kernel computes is rounded in float.

    Why
        The network has learned to compute with these grids. A second quantization, calibrated,
        would round what is rounded, and lose what training has won.

    Example
        ``plan-kernels,keep-trained-scales,choose-ranges``, which is what ``--keep-scales`` runs.

    When it declines
        A weight whose codes the target cannot hold (8 bits with a zero point of their own, scales
        along another axis) is rounded anew, with a warning, and so is one that passes have
        rearranged, or an activation whose grid the target cannot hold.
        Where scales have to be powers of two, and are not, it is an error, and so is a model in
        which fake quantization was looked for and not found.

    Numerics
        Exact, but for codes of −128 in channels with a negative factor, which become 127.

    Source
        Jacob et al. 2018, section 3.2, on batch-norms folded into quantized weights.

    Attributes:
        fill: what becomes of tensors that kernels need on a grid and training did not round:
            ``calibration`` measures them; ``float`` leaves nodes without weights beside them in
            float, and is an error beside a layer.
    """

    name: ClassVar[str] = "keep-trained-scales"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    fill: Literal["calibration", "float"] = "calibration"

    def run(self, model: Model, ctx: Context) -> None:
        if not ctx.trained.activations and not ctx.trained.weights:
            bodies = [g for g in model.graphs() if g is not model.graph]
            inside = any(n.op == "DequantizeLinear" for g in bodies for n in g.nodes)
            if ctx.trained.read and not inside:
                raise _nothing(ctx)
            return
        self._keep(model, ctx)
        while self.fill == "float" and _left_in_float(model, ctx):
            plan_kernels(model, ctx)
            self._keep(model, ctx)

    def _keep(self, model: Model, ctx: Context) -> None:
        ctx.trained.kept.clear()
        grids = _spread(model, ctx)
        tensors = model.tensors()
        limits = _absorbed_limits(model, ctx)
        for name, grid in grids.items():
            if name in tensors and not is_constant(tensors[name]):
                self._activation(name, grid, limits.get(name), ctx)
        for node in model.graph.nodes:
            planned = ctx.plan.nodes.get(node.name)
            if planned is None:
                continue
            rule = ctx.target.rules[node.op]
            for index in planned.inputs:
                if is_constant(node.inputs[index]) and index != rule.bias:
                    self._weight(node, index, ctx)
        for name in ctx.trained.activations:
            if name in tensors and _needs_rounding(tensors[name], ctx):
                ctx.plan.rounded.add(name)

    def _activation(
        self, name: str, grid: TrainedGrid, limits: tuple[float, float] | None, ctx: Context
    ) -> None:
        tensors = ctx.plan.tensors
        planned = tensors.get(name)
        if isinstance(planned, Shared) and _root_grid(name, ctx) == grid:
            return
        if planned is None and name not in ctx.trained.activations:
            return
        found = activation_qparams(grid, activation_spec(ctx), limits)
        if isinstance(found, str):
            what = "is rounded anew" if planned is not None else "stays without rounding"
            _refuse(f"the activation '{name}'", found, ctx, what)
            return
        tensors[name] = Fixed(found)

    def _weight(self, node: gs.Node, index: int, ctx: Context) -> None:
        tensor = node.inputs[index]
        trained = ctx.trained.weights.get((node.name, index))
        spec, value = ctx.plan.tensors.get(tensor.name), constant_value(tensor)
        if trained is None or value is None or not isinstance(spec, QuantSpec):
            return
        if ctx.target.rules[node.op].weight != index:  # an operand that is constant
            spec = replace(spec, granularity=PerTensor())
        found = weight_qparams(value, trained, spec)
        if isinstance(found, str):
            _refuse(f"the weight '{tensor.name}' of '{node.name}'", found, ctx)
            return
        qparams, codes = found
        beyond = int(((codes < qparams.qmin) | (codes > qparams.qmax)).sum())
        if beyond:
            ctx.journal.warn(
                f"'{node.name}': {beyond} of {codes.size} trained codes are cut by one step, "
                f"beyond {qparams.dtype} in channels that batch-norm turned"
            )
        ctx.plan.tensors[tensor.name] = Fixed(qparams)
        ctx.trained.kept[tensor.name] = trained.bits


def _nothing(ctx: Context) -> OptionError:
    """The error of a model in which fake quantization was looked for and not found."""
    declined = [d for d in ctx.journal.declines if d.pass_name == "read-fake-quantization"]
    return OptionError(
        "the model has no fake quantization whose scales could be kept",
        why="; ".join(f"'{d.node}': {d.reason}" for d in declined[:3]),
        hint="quantize without --keep-scales",
    )


def without_grid(model: Model, ctx: Context) -> list[str]:
    """Planned activations whose scale is still to be chosen: training did not round them."""
    constants = frozenset(n for n, t in model.tensors().items() if is_constant(t))
    return [n for g in scale_groups(ctx.plan, constants) if g.fixed is None for n in g.rounded]


def _left_in_float(model: Model, ctx: Context) -> bool:
    """Exclude the nodes without weights that need a grid which there is not; whether there are any.

    Raises:
        DataError: layers need one, too.
    """
    missing = set(without_grid(model, ctx))
    if not missing:
        return False
    beside = [
        node
        for node in model.graph.nodes
        if node.name in ctx.plan.nodes and missing & {t.name for t in (*node.inputs, *node.outputs)}
    ]
    light = [n for n in beside if _role(n, ctx) is not Role.COMPUTE]
    if not light:
        few = ", ".join(sorted(missing)[:5]) + (" …" if len(missing) > 5 else "")
        raise DataError(
            f"training did not round {len(missing)} tensors that layers need on a grid: {few}",
            why=f"'{beside[0].name}' reads or writes one" if beside else "",
            hint="--data calibrates them; --exclude leaves the layers in float",
        )
    for node in light:
        ctx.plan.excluded[node.name] = (
            "training did not round what it reads or writes, and there is no data to calibrate it"
        )
    return True


def _refuse(what: str, why: str, ctx: Context, instead: str = "is rounded anew") -> None:
    """Warn of a grid that cannot be kept.

    Raises:
        UnsupportedModelError: the target computes in shifts alone.
    """
    if ctx.target.integer is not None:
        raise UnsupportedModelError(
            f"the trained grid of {what} cannot be kept on {ctx.target.name}",
            why=why,
            hint="--target mcu-int8, which has any scale; train for this target; or quantize the "
            "float model without --keep-scales",
        )
    ctx.journal.warn(
        f"{what} {instead}, not as in training, for {ctx.target.name}: {why}; another "
        "--target, or symmetric grids in training, would keep it"
    )


def _spread(model: Model, ctx: Context) -> dict[str, TrainedGrid]:
    """Trained grids, and those of tensors for which another's is exact.

    Rounding in front of data movement, of a Relu, or of a join, is the same as behind it.
    """
    grids = dict(ctx.trained.activations)
    nodes = list(model.graph.nodes)
    by_name = {n.name: n for n in nodes}
    for planned in ctx.plan.nodes.values():
        for name in planned.absorbs:
            source, result = by_name[name].inputs[0].name, by_name[name].outputs[0].name
            if source in grids:
                grids.setdefault(result, grids[source])
    for node in reversed(nodes):
        if not _moves(node, ctx) or node.outputs[0].name not in grids:
            continue
        source, grid = node.inputs[0], grids[node.outputs[0].name]
        users = [user for user, _ in consumers(source)]
        alike = all(_moves(u, ctx) and grids.get(u.outputs[0].name) == grid for u in users)
        if source.name not in grids and alike and not model.is_output(source):
            grids[source.name] = grid
    for node in nodes:
        given = [grids.get(t.name) for t in node.inputs]
        if _role(node, ctx) is not Role.JOIN or given[0] is None:
            continue
        if all(g == given[0] for g in given):
            grids.setdefault(node.outputs[0].name, given[0])
    return grids


def _role(node: gs.Node, ctx: Context) -> Role | None:
    return ctx.target.rules[node.op].role if node.name in ctx.plan.nodes else None


def _moves(node: gs.Node, ctx: Context) -> bool:
    return _role(node, ctx) is Role.MOVE


def _absorbed_limits(model: Model, ctx: Context) -> dict[str, tuple[float, float]]:
    """Limits of the tensors behind absorbed activations."""
    ends = {p.absorbs[-1] for p in ctx.plan.nodes.values() if p.absorbs}
    results = [n.outputs[0].name for n in model.graph.nodes if n.name in ends]
    specs = {name: ctx.plan.tensors.get(name) for name in results}
    return {n: s.limits for n, s in specs.items() if isinstance(s, QuantSpec) and s.limits}


def _root_grid(name: str, ctx: Context) -> object:
    """The trained grid of the tensor that *name* has its scale from; None where it has none."""
    seen = set()
    while isinstance(planned := ctx.plan.tensors.get(name), Shared) and name not in seen:
        seen.add(name)
        name = planned.with_
    return ctx.trained.activations.get(name)


def _needs_rounding(tensor: gs.Tensor, ctx: Context) -> bool:
    """Whether the trained *tensor* is float, and read by more than integer kernels."""
    if not isinstance(ctx.plan.tensors.get(tensor.name), Fixed):
        return False
    above = producer(tensor)
    if above is not None:
        planned = ctx.plan.nodes.get(above.name)
        absorbed = any(above.name in p.absorbs for p in ctx.plan.nodes.values())
        if absorbed or (planned is not None and planned.outputs and not planned.absorbs):
            return False
    return True
