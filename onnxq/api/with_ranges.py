"""Mode static: measure ranges, run the recipe, look at the result, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from onnxq.api import keep_scales as trained
from onnxq.api.bodies import Inner, Inside, quantize_bodies
from onnxq.api.body_report import add_bodies
from onnxq.api.calibration import Calibration
from onnxq.api.costs import said
from onnxq.api.coverage import add_coverage, look, note, warn_of_taken_back
from onnxq.api.coverage import notes as portability
from onnxq.api.finish import describe, measured, versions, warn
from onnxq.api.floats import warn_of_floats
from onnxq.api.legal import as_it_runs
from onnxq.api.recipe import first_plan
from onnxq.api.result import Result
from onnxq.api.rounds import Emitted, Rounds
from onnxq.api.speed import add_speed
from onnxq.api.states import add_states
from onnxq.api.without_ranges import Call
from onnxq.graph import Model, is_constant
from onnxq.pipeline import Context
from onnxq.quant import QuantSpec, Shared
from onnxq.report.advise import advise
from onnxq.report.build import Facts, build
from onnxq.report.spread import Spread
from onnxq.targets import Target

Detail = Literal["full", "layers", "basic"]


@dataclass(frozen=True, kw_only=True)
class StaticCall(Call):
    """What a call of ``quantize`` in mode static asks for.

    Attributes:
        profile: the hardware profile as it was asked for; ``target`` keeps to limits too.
        detail: how much is in the report.
        simulate: whether the result is explicit arithmetic.
        rest: whether what stays in float changes too.
        keep_unfused: whether nodes that do not fuse stay quantized.
        keep_scales: whether scales are those of training.
        data_free: whether ranges follow from batch-norms and weights.
        keeps_statistics, statistics_only: as ``Context`` has them.
        state: by input, the output that is fed into it.
        machine: a note on the machine that the target was chosen for, if it was.
        left_out: notes on passes that were left out.
        inside: how bodies are quantized.
    """

    profile: Target
    detail: Detail
    simulate: bool
    rest: bool
    keep_unfused: bool
    keep_scales: bool
    data_free: bool
    keeps_statistics: bool
    statistics_only: bool
    state: Mapping[str, str]
    machine: tuple[str, ...]
    left_out: tuple[str, ...]
    inside: Inside


def with_ranges(work: Model, run: Calibration, call: StaticCall) -> Result:
    """Quantize *work*, in place, by what *run* measures."""
    untouched, bytes_float = work.clone(), work.message_bytes()
    made = _rounds(run, call).run(work, untouched)
    inner = quantize_bodies(made, run, call.steps, call.inside)
    if inner:
        form, feed = made.qdq if call.simulate else made.work, next(run.report_feeds(), None)
        found = look(form, made.original, made.ctx, call.providers, feed=feed)
        made = replace(made, found=found)
    run.finish(made.ctx)
    warn_of_taken_back(made.ctx, made.loose)
    warn_of_floats(made.ctx)
    call.progress.stage("report")
    # the form that runs: integers alone, where the target has nothing else
    runs = made.work if call.profile.integer is None else as_it_runs(made.qdq, made.ctx)
    report = _report(made, untouched, runs, bytes_float, run, call, inner)
    if call.state:
        add_states(report, untouched, runs, run.report_feeds(), call.state, call.providers)
    if call.bench:
        call.progress.stage("bench")
        given = made.original if call.keep_scales else untouched
        feeds = run.report_feeds()
        add_speed(report, given, made.work, feeds, call.providers, call.threads)
    return Result(made.work, report, made.original, made.ctx)


def _rounds(run: Calibration, call: StaticCall) -> Rounds:
    """The rounds of quantization, with contexts that *run* serves."""

    def context(loose: dict[str, str]) -> Context:
        ctx = Context(target=call.target, plan=first_plan(call.steps, loose))
        run.serve(ctx)
        ctx.keeps_statistics = call.keeps_statistics
        ctx.statistics_only = call.statistics_only
        return ctx

    # equalization keeps the function on values within estimated ranges: synthetic ones are not
    exact = trained.compare_without_rounding(run.compare) if call.keep_scales else run.compare
    return Rounds(
        call.steps, context, None if call.data_free else exact, call.keep_unfused, call.simulate,
        call.rest, call.providers, call.progress,
    )  # fmt: skip


def _report(
    made: Emitted,
    untouched: Model,
    runs: Model,
    bytes_float: int,
    run: Calibration,
    call: StaticCall,
    inner: Sequence[Inner],
) -> dict[str, Any]:
    """The report on *made*, which is noted in its metadata too."""
    ctx, work, profile = made.ctx, made.work, call.profile
    kept = Spread()
    feeds = kept.watch(run.report_feeds())
    errors = measured(
        made.original, made.qdq, ctx, feeds, call.providers, full=call.detail != "basic",
        given=untouched, deployed=runs,
        reference=trained.simulated(made.original, ctx),
    )  # fmt: skip
    warn(ctx, made.found, work, anything=bool(ctx.plan.nodes) or any(i.result for i in inner))
    data = run.facts()
    describe(work, call.limits, call.steps, profile, data)
    runtime = f"onnxruntime {versions()['onnxruntime']}"
    note(work, made.found, runtime if profile.integer is None else f"integers of {profile.name}")
    notes = (
        *call.machine, *run.notes(), *call.left_out, *said(call.steps, profile),
        *portability(made.found, ctx), *trained.notes(ctx),
    )  # fmt: skip
    facts = Facts(
        recipe=call.steps.name or str(call.steps), passes=str(call.steps), versions=versions(),
        data=data, notes=notes, kernels=made.found.kernels, bytes_float=bytes_float,
        bytes_quantized=work.message_bytes(),
    )  # fmt: skip
    report = build(made.original, ctx, errors, facts)
    if call.detail == "full" and errors.isolated is not None and ctx.plan.nodes:
        advise(report, errors.isolated, kept, effort=call.effort, providers=call.providers)
    _name_tensors(report, made)
    planned = add_bodies(report, inner, made.found.coverage)
    add_coverage(report, made.found, ctx, planned)
    return report


def _name_tensors(report: dict[str, Any], made: Emitted) -> None:
    """Let tensors of recommendations be those to widen: with a format of their own.

    They are the weights of a layer, where these make half of its noise.
    """
    ctx = made.ctx
    layers = {e["node"]: e for e in report["layers"]}
    nodes = {n.name: n for n in made.original.graph.nodes}
    for entry in (e for e in report["recommendation"] if "tensors" in e):
        name = entry["node"]
        stored = [
            nodes[name].inputs[i].name
            for i in ctx.plan.nodes[name].inputs
            if is_constant(nodes[name].inputs[i])
            and isinstance(ctx.plan.tensors.get(nodes[name].inputs[i].name), QuantSpec)
        ]
        if stored and ((layers[name].get("share") or {}).get("weights") or 0.0) >= 0.5:
            entry["tensors"] = stored
        entry["tensors"] = list(dict.fromkeys(_root(n, ctx) for n in entry["tensors"]))


def _root(name: str, ctx: Context) -> str:
    """The tensor whose scale and format the tensor *name* shares."""
    while isinstance(spec := ctx.plan.tensors.get(name), Shared):
        name = spec.with_
    return name
