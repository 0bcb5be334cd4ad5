"""Modes that measure no ranges: run the recipe, look at the result, report.

No data is needed; where there is some, layers are measured on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxq.api.calibration import Calibration
from onnxq.api.coverage import Look, look, note
from onnxq.api.finish import describe, versions
from onnxq.api.limits import Limits
from onnxq.api.result import Result
from onnxq.api.speed import add_speed
from onnxq.graph import Model, constant_value, is_constant
from onnxq.passes.emit.store_float16 import StoreFloat16
from onnxq.pipeline import Context, PassManager, Recipe, Stage
from onnxq.pipeline.macs import macs
from onnxq.pipeline.progress import Progress
from onnxq.quant.measures import ErrorSums
from onnxq.report.advise import Effort
from onnxq.report.compare import compare
from onnxq.report.entries import finite
from onnxq.runtime.providers import Provider
from onnxq.runtime.versions import CPU_LACKS
from onnxq.targets import Target

#: Models of more bytes are not loaded into a runtime only to be looked at.
LARGEST_LOOKED_AT = 1 << 30
_NO_DATA = {"digest": "", "calibration_samples": 0, "report_samples": 0, "held_out": None,
            "calibrated": None}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """What a call of ``quantize`` asks for, as far as it is the same for all models.

    Attributes:
        steps: the recipe.
        target: the hardware profile.
        limits: what the result must keep to.
        effort: how much time goes into what layers do to the outputs.
        bench: whether the result is timed.
        threads: on how many threads; None for all cores.
        providers: execution providers.
        progress: told of stages.
    """

    steps: Recipe
    target: Target
    limits: Limits
    effort: Effort
    bench: bool
    threads: int | None
    providers: Sequence[Provider]
    progress: Progress


def without_ranges(work: Model, run: Calibration | None, call: Call) -> Result:
    """Quantize *work*, in place; *run* has the data, where there is any."""
    given, ctx = work.clone(), Context(target=call.target)
    if run is not None:
        ctx.measure, ctx.probe = run.measure, run.probe
    passes = call.steps.passes
    before = [p for p in passes if p.stage < Stage.EMIT]
    large = given.stored_bytes() > LARGEST_LOOKED_AT
    compared = None if run is None or large else run.compare
    PassManager(before, progress=call.progress, compare=compared).run(work, ctx)
    original = work.clone()
    rest = any(p.name == StoreFloat16.name for p in passes)
    if ctx.plan.nodes or rest:
        after = [p for p in passes if p.stage >= Stage.EMIT]
        PassManager(after, progress=call.progress).run(work, ctx)
    else:
        original, work = given, given.clone()
    if not ctx.plan.nodes:
        ctx.journal.warn("nothing was quantized: the model stays in float (reasons are listed)")
    call.progress.stage("verify")
    found = None
    lacking = sorted({b.dtype.name for b in ctx.blocks.values()} & CPU_LACKS)
    if lacking:
        ctx.journal.warn(
            f"ONNX Runtime's CPU provider cannot run {', '.join(lacking)}: the result is for other "
            "runtimes, and is not measured here"
        )
    elif not large:
        feed = None if run is None else next(run.report_feeds(), None)
        found = look(work, original, ctx, call.providers, feed=feed)
        note(work, found, f"onnxruntime {versions()['onnxruntime']}")
    if run is not None:
        run.finish(ctx)
    data = _NO_DATA if run is None else run.facts()
    if run is not None and not run.used:
        data |= {"calibrated": None, "calibration_samples": 0}
    describe(work, call.limits, call.steps, call.target, data)
    call.progress.stage("report")
    report = _report(given, original, work, ctx, found, run, call)
    report["data"] = {**report["data"], **data}
    if call.bench and run is not None:
        call.progress.stage("bench")
        add_speed(report, given, work, run.report_feeds(), call.providers, call.threads)
    return Result(work, report, original, ctx)


def _report(
    given: Model,
    original: Model,
    work: Model,
    ctx: Context,
    found: Look | None,
    run: Calibration | None,
    call: Call,
) -> dict[str, Any]:
    """The report on *work*: measured where there is data."""
    kernels = {} if found is None else found.kernels
    lacking = any(b.dtype.name in CPU_LACKS for b in ctx.blocks.values())
    large = given.stored_bytes() > LARGEST_LOOKED_AT
    if run is not None and ctx.plan.nodes and not (lacking or large):
        feeds = run.report_feeds()
        report = compare(given, work, feeds, providers=call.providers, effort=call.effort)
    else:
        report = _unmeasured(original, work, ctx, kernels)
    planned = ctx.plan.nodes.keys()
    known = {k["node"] for k in report["kept_float"]}
    kept = [
        {"node": n.name, "op_type": n.op, "reason": ctx.plan.kept_float[n.name]}
        for n in original.nodes()
        if n.name in ctx.plan.kept_float and n.name not in known
    ]
    declined = [
        {"pass": d.pass_name, "node": d.node, "reason": d.reason} for d in ctx.journal.declines
    ]
    return report | {
        "target": call.target.name,
        "recipe": call.steps.name or str(call.steps),
        "passes": str(call.steps),
        "versions": versions(),
        "kept_float": [k for k in report["kept_float"] if k["node"] not in planned] + kept,
        "declines": declined,
        "warnings": [*report["warnings"], *ctx.journal.warnings],
        "notes": [],
    }


def _unmeasured(
    original: Model, work: Model, ctx: Context, kernels: Mapping[str, str]
) -> dict[str, Any]:
    """A report without samples: what each layer became, and the error of its weights alone."""
    costs = {n.name: macs(n, ctx) for n in original.nodes() if n.outputs}
    total = sum(c or 0 for c in costs.values())
    integer = sum(costs.get(name) or 0 for name in ctx.plan.nodes if name in kernels)
    layers = []
    for node in original.nodes():
        planned = ctx.plan.nodes.get(node.name)
        if planned is None:
            continue
        weights = [node.inputs[i] for i in planned.inputs if is_constant(node.inputs[i])]
        sums, measured = ErrorSums(), False
        for tensor in weights if original.stored_bytes() <= LARGEST_LOOKED_AT else ():
            blocks, value = ctx.blocks.get(tensor.name), constant_value(tensor)
            if blocks is not None and value is not None:
                measured = True
                sums.add(value, blocks.dequantize(blocks.quantize(value)))
        names = sorted({str(ctx.blocks[t.name].dtype) for t in weights if t.name in ctx.blocks})
        layers.append({
            "node": node.name, "op_type": node.op, "precision": " × ".join(names),
            "kernel": kernels.get(node.name), "macs": costs.get(node.name),
            "isolated_sqnr_db": None, "cumulative_sqnr_db": None, "noise_to_signal": None,
            "cosine": None, "weights_sqnr_db": finite(sums.sqnr_db) if measured else None,
            "reason": f"planned as {planned.kernel}; not measured: no data, or too large a model",
        })  # fmt: skip
    return {
        "schema": "onnxq-report/1",
        "model": original.path.name if original.path else original.graph.name,
        "data": {"digest": "", "calibration_samples": 0, "report_samples": 0, "held_out": None},
        "summary": {
            "outputs": [],
            "bytes_float": original.message_bytes(),
            "bytes_quantized": work.message_bytes(),
            "macs": total,
            "integer_macs_percent": 100.0 * integer / total if total else None,
            "integer_nodes_percent": 100.0 * len(kernels) / max(len(costs), 1),
        },
        "layers": layers,
        "tensors": {}, "arithmetic": None, "kept_float": [], "warnings": [],
        "recommendation": [],
    }  # fmt: skip
