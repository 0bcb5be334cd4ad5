"""The end of a call: measure, describe, warn, and hold the result against conditions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from onnxq.api.coverage import Look, unfused, why_in_float
from onnxq.api.legal import metadata
from onnxq.api.limits import Limits
from onnxq.api.result import Result
from onnxq.errors import ConditionError, NothingQuantizedError
from onnxq.graph import Model, is_constant
from onnxq.pipeline import Context, Recipe
from onnxq.pipeline.scaled import scaled_tensors
from onnxq.quant import QParams, QuantSpec
from onnxq.report.bench.run import demand as demand_speed
from onnxq.report.build import result_name
from onnxq.report.coverage.cpus import is_cpu
from onnxq.report.isolated import Arithmetic
from onnxq.report.layers import FLOATS
from onnxq.report.lint.run import lint
from onnxq.report.lint.runtimes import RUNTIMES, Runtime
from onnxq.report.measure import Errors, measure
from onnxq.report.units import percent
from onnxq.runtime.providers import Provider
from onnxq.targets import Target

_PACKAGES = ("onnxq", "onnx", "onnxruntime", "onnx-graphsurgeon", "numpy")


def versions() -> dict[str, str]:
    """Installed versions of onnxq and of what decides its results."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def measured(
    original: Model,
    work: Model,
    ctx: Context,
    feeds: Iterable[Mapping[str, Any]],
    providers: Sequence[Provider],
    *,
    full: bool = False,
    arithmetic: Arithmetic = "fake-quantized",
    given: Model | None = None,
    deployed: Model | None = None,
    reference: Model | None = None,
) -> Errors:
    """Errors of *work*, a QDQ model, against *original* wherever an integer node hands on.

    Where *deployed* is not None, it is *work* in the form that runs: errors that add up are its.
    Outputs are compared with those of *given*, the user's model, where channels were equalized.
    Where *reference* is not None, it is *original* with the fake quantization that the user's model
    came with: that is what errors are measured against.
    *full* adds the isolated error of each node, its sources, and statistics of tensors.
    """
    names = {t for t in (deployed or work).tensors() if t.endswith("__q")}
    codes: dict[str, tuple[str, QParams]] = {}
    results: dict[str, str] = {}
    for node in original.nodes():
        planned = ctx.plan.nodes.get(node.name)
        if planned is None:
            continue
        name = results[node.name] = result_name(node, planned)
        if planned.outputs and f"{name}__q" in names and name in ctx.qparams:
            found = ctx.qparams[name]
            # sessions hand out no floats of 8 bits: the real values instead
            codes[name] = (name, FLOATS) if found.dtype.floating else (f"{name}__q", found)
    ends = (*work.graph.inputs, *work.graph.outputs)
    boundary = {t.name: ctx.qparams[t.name] for t in ends if t.name in ctx.qparams}
    through = {
        n: (s.through, s.through_scale)
        for n, s in ctx.plan.tensors.items()
        if isinstance(s, QuantSpec) and s.through
    }
    equalized = reference is not None or scaled_tensors(original)
    return measure(
        reference or original, work, codes, feeds, boundary=boundary, through=through,
        providers=providers, matches=own_matches(original, work) if full else None, ends=results,
        arithmetic=arithmetic, given=given if equalized else None,
        deployed=deployed,
    )  # fmt: skip


def own_matches(original: Model, work: Model) -> dict[str, str]:
    """Tensors of *work*, which onnxq made of *original*, by those of *original*."""
    known = {name for name, t in original.tensors().items() if not is_constant(t)}
    there = work.tensors()
    # insert-qdq gives the rounded tensor the name, hold-products what stands behind the product
    ends = ("__float", "__held")
    before = {raw: name for name in known for end in ends if (raw := f"{name}{end}") in there}
    return {name: name for name in there if name in known} | before


def describe(
    work: Model, limits: Limits, recipe: Recipe, target: Target, data: Mapping[str, Any]
) -> None:
    """Write into the metadata of *work* what it was made with, and for what."""
    note = {
        "target": target.name,
        "recipe": str(recipe),
        "data_digest": data["digest"],
        "calibrated": _calibrated(data),
        "versions": json.dumps(versions(), sort_keys=True),
        **metadata(target),
    }
    for key in sorted(note):
        work.metadata[f"onnxq.{key}"] = note[key]
    header = work.carried.header
    if limits.ir_version is not None:
        header.ir_version = min(header.ir_version, limits.ir_version)
        work.graph.ir_version = header.ir_version


def _calibrated(data: Mapping[str, Any]) -> str:
    """What the metadata says of where ranges come from."""
    if data.get("data_free"):
        return "not calibrated (data-free: batch-norm statistics and weights)"
    if data["calibrated"] is None:
        return "nothing to calibrate"
    return "yes" if data["calibrated"] else "not calibrated (random data)"


def warn(ctx: Context, found: Look, work: Model, *, anything: bool) -> None:
    """Note what the user should know of the result *work*, in which *anything* is quantized."""
    if not anything:
        ctx.journal.warn("nothing was quantized: the model stays in float (reasons are listed)")
    loose = unfused(found, ctx)
    if loose and is_cpu(ctx.target):
        few = ", ".join([*loose][:5]) + (" …" if len(loose) > 5 else "")
        ctx.journal.warn(
            f"{len(loose)} quantized nodes run in float between Q and DQ, which is slower than "
            f"float: {few} ({next(iter(loose.values()))})"
        )
    for hazard in found.coverage.hazards:
        ctx.journal.warn(f"'{hazard.node}': {hazard.finding.why}")
    runtime = RUNTIMES.get(ctx.target.name)
    if runtime is not None:
        _warn_of(runtime, ctx, work)


def _warn_of(runtime: Runtime, ctx: Context, work: Model) -> None:
    """Note where *runtime* does not load *work*, or computes something else."""
    effects = {"refused": "does not load the model", "wrong": "computes something else"}
    for problem in lint(work, runtime):
        if problem.effect in effects:
            ctx.journal.warn(
                f"{runtime.title} {effects[problem.effect]}: '{problem.node}', {problem.why}. "
                f"Try: {problem.remedy}"
            )


def demand(
    result: Result,
    require_quantized: bool,
    min_sqnr: float | None,
    require_coverage: float | None = None,
    require_speedup: float | None = None,
) -> None:
    """Hold *result* against what the call requires.

    Raises:
        NothingQuantizedError: something had to be quantized.
        ConditionError: an output's SQNR is below *min_sqnr* (dB), fewer than *require_coverage*
            percent of the multiply-accumulates run on integers, or the result is not
            *require_speedup* times as fast as float.
    """
    if require_quantized and not result.report["layers"]:
        reasons = {k["reason"] for k in result.report["kept_float"]}
        raise NothingQuantizedError(
            "nothing was quantized", why="; ".join(sorted(reasons)[:5]) or "the model has no nodes"
        )
    share = result.report["summary"]["integer_macs_percent"]
    if require_coverage is not None and share < require_coverage:
        raise ConditionError(
            f"{percent(share)} of the multiply-accumulates run on integers, below the "
            f"{require_coverage:g} % required",
            why=why_in_float(result.report),
            hint="'onnxq inspect MODEL --nodes' lists why each node stays in float",
        )
    if require_speedup is not None:
        demand_speed(result.report["bench"], require_speedup)
    if min_sqnr is None:
        return
    for output in result.report["summary"]["outputs"]:
        if output["sqnr_db"] is not None and output["sqnr_db"] < min_sqnr:
            raise ConditionError(
                f"output '{output['name']}': SQNR {output['sqnr_db']:.2f} dB is below "
                f"the {min_sqnr:g} dB required",
                hint="--recipe balanced, or --exclude for the worst layers of the report",
            )
