"""``onnxq.quantize``: load, canonicalize, fuse, plan, calibrate, correct, emit, verify, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, Literal

from onnxq.api import keep_scales as trained
from onnxq.api.bfloat16 import rest_of, widen
from onnxq.api.bodies import PASSED_ON, Inside
from onnxq.api.calibration import Calibration
from onnxq.api.costs import check_threads, costs_from, costs_in
from onnxq.api.finish import demand
from onnxq.api.floats import with_floats
from onnxq.api.large import open_large
from onnxq.api.legal import check_format, legalized, with_arithmetic, with_codes
from onnxq.api.limits import find_limits, keep_to
from onnxq.api.modes import recipe_of, refuse, standard_only
from onnxq.api.quantized import refuse_quantized
from onnxq.api.recipe import Changes, change, excluded_by, with_rest
from onnxq.api.result import Result
from onnxq.api.states import add_states
from onnxq.api.with_ranges import StaticCall, with_ranges
from onnxq.api.without_data import check_made_up, without_data, without_runs
from onnxq.api.without_ranges import LARGEST_LOOKED_AT, Call, without_ranges
from onnxq.graph import Model
from onnxq.pipeline import Recipe
from onnxq.pipeline.progress import Progress, Silent
from onnxq.report.advise import Effort
from onnxq.report.sensitivity import Metric
from onnxq.runtime.providers import parse_providers
from onnxq.targets import Target, detect, get_target

#: Seconds for what layers do to the outputs in a full report.
EFFECTS_S = 15.0


def quantize(
    model: Any,
    *,
    data: Any = None,
    target: str | Target = "auto",
    recipe: str | Recipe = "balanced",
    mode: str = "static",
    calibration: str | None = None,
    weights: str | None = None,
    activations: str | None = None,
    granularity: str | None = None,
    scales: str | None = None,
    block: int | None = None,
    asymmetric: bool = False,
    weight_method: str | None = None,
    tables: str | None = None,
    mix_bits: float | None = None,
    double_scales: bool = False,
    format: str = "qdq",  # noqa: A002 (the name is fixed)
    exclude: Sequence[str] = (),
    exclude_from: str | PathLike[str] | None = None,
    overrides: str | PathLike[str] | None = None,
    preprocess: str | None = None,
    providers: str | Sequence[str] = (),
    statistics: str | PathLike[str] | None = None,
    report_data: Any = None,
    state: Mapping[str, str] | None = None,
    report_detail: Literal["full", "layers", "basic"] | None = None,
    random_data: bool = False,
    data_free: bool = False,
    keep_scales: bool = False,
    input_range: Mapping[str, tuple[float, float]] | None = None,
    io_dtype: str | None = None,
    domains: str | None = None,
    rest: str | None = None,
    rounding: str | None = None,
    bias_bits: int | None = None,
    max_opset: int | None = None,
    runtime_version: str | None = None,
    require_quantized: bool = False,
    require_coverage: float | None = None,
    require_speedup: float | None = None,
    min_sqnr: float | None = None,
    keep_unfused: bool = False,
    latency_aware: bool = False,
    costs: str = "target",
    threads: int | None = None,
    bench: bool = False,
    metric: Metric | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Result:
    """Quantize *model* after training.

    Args:
        model: a path, a ``ModelProto``, a ``Model``, or anything with ``.model_proto``. The
            source is never written to.
        data: calibration samples: a path (``.npz``, ``.npy``, a folder), ``"module:function"``,
            an iterable of ``{input name: array}``, or an array for a model of one input.
        target: a hardware profile or its name; ``"auto"`` fits this machine.
        recipe: a recipe, its name, its text, or a TOML file.
        mode: ``"static"`` (scales of activations measured on data), ``"dynamic"`` (computed in
            each run) or ``"weights"`` (layers compute in float); the last two need no data.
        calibration: range method of activations, instead of the recipe's.
        weights: number format of weights, instead of the target's.
        activations: number format of activations, likewise.
        granularity: ``"tensor"`` or ``"channel"`` scales for weights; ``"model"``, for comparison:
            one scale for all weights, and one for all activations.
        block: in mode weights, how many values share a scale; 0 for whole rows.
        scales: ``"power-of-two"``: no others, on any target; None: what the target takes.
        asymmetric: in mode weights, whether each scale has a zero point of its own; in mode static,
            whether activations have one on targets that do without.
        weight_method: rtn, mse, hqq, gptq, awq or awq+gptq there; None: the recipe's.
        tables: number format of embeddings there.
        mix_bits: percentage of weights that get 8 bits there, those that few bits hurt most.
        double_scales: store scales of blocks as int8 there, eight to a scale.
        format: ``"qdq"`` (integer weights), ``"qdq-float"`` (float weights, quantized inside),
            ``"qoperator"`` (operators on codes, without floats between layers) or ``"simulate"``
            (what a target without floating point computes, in explicit arithmetic, bit for bit).
        exclude: patterns of nodes to keep in float: globs, ``op:TYPE``, ``re:…``, ``from:A,to:B``.
        exclude_from: an earlier report whose recommended layers are kept in float.
        overrides: a TOML file with one table a tensor.
        preprocess: how images become inputs, for folders of images.
        providers: ONNX Runtime execution providers, in order.
        statistics: a file of measured statistics, reused where it fits, else written. Passes that
            run the model for more than statistics are left out then, and the report says so.
        report_data: samples for the report, instead of those held out from *data*.
        state: by input, the output that is fed into it in the next step; the data then holds the
            other inputs, its samples in order, and states begin as zeros.
        report_detail: ``"basic"``: errors as they add up along the network. ``"layers"``: also
            each layer's isolated error, where it comes from, and statistics of tensors, which
            takes about ten times as long as running the float model on the samples. ``"full"``:
            also what each layer does to the outputs, and which to keep in float, for up to 15 s.
            None: layers, but basic for ``fast``.
        random_data: go on without data, on random numbers; the result is marked.
        data_free: go on without data: ranges and means of activations follow from batch-norm
            statistics and weights, and the result is marked.
        keep_scales: keep scales and codes of weights of a model with fake quantization from
            training; *data* is needed only where layers read what training did not round.
        input_range: by name of an input, its smallest and largest value, for these two; else
            standard normal values are assumed.
        io_dtype: ``"uint8"`` or ``"int8"``: take Q/DQ off the model's boundary.
        domains: whose operators qoperator and other modes may use: ``"microsoft"`` (ONNX Runtime's
            too, the default) or ``"standard"`` (ONNX's alone, the default of mode weights).
        rest: ``"fp16"``: store what stays in float as float16; layers compute in float32 still.
            ``"float32"``: leave it. ``"int8"``, in mode dynamic: weights as int8, what is no weight
            as float16; ``"int16"``: weights so, all else left. None: there all as float16 where the
            model is recurrent, else large weights as int8; in other modes float16 where *model* is
            in float16 or bfloat16.
        rounding: how results are rounded by targets without floating point, ``"half-up"`` or
            ``"floor"``, instead of the target's way; noted in the metadata.
        bias_bits: width of stored biases there, 8 to 32.
        max_opset: the highest opset that the result may need.
        runtime_version: the ONNX Runtime version that has to run the result.
        require_quantized: an error where nothing was quantized.
        require_coverage: an error where fewer percent of the multiply-accumulates run on integers.
        require_speedup: an error where the result is not so many times as fast as *model*.
        min_sqnr: an error where an output's signal-to-noise ratio (dB) is lower.
        keep_unfused: leave nodes quantized that do not fuse into integer kernels, not in float.
        latency_aware: leave in float what a table of kernel costs, conversions included, says is
            slower on integers, as ``fast`` does (see the pass 'keep-faster-float').
        costs: where such a table is from: ``"target"``, the same on every machine, or
            ``"measured"``: this machine's kernels, measured once (half a minute) and kept.
        threads: of a run, for what is measured: costs (default: one thread), and latencies
            (default: all cores).
        bench: time *model* and the result in turn for some seconds; warn where it is slower.
        metric: a measure of the outputs on a sample, ``metric(float_outputs, quantized_outputs)``
            with arrays by name, for the effects of layers in a full report.
        seed: for random data.
        progress: told of stages and steps.

    Raises:
        UserError: a name, option, file or sample that cannot be used.
        UnsupportedModelError: the model is quantized already, or cannot be run.
        ConditionError: *require_coverage*, *require_speedup* or *min_sqnr* is not met.
        NothingQuantizedError: *require_quantized*, and nothing was.
    """
    given = dict(locals())
    progress = progress or Silent()
    check_threads(threads, used=costs == "measured" or bench or require_speedup is not None)
    profile = with_arithmetic(get_target(target), rounding, bias_bits)
    work = model.clone() if isinstance(model, Model) else Model.load(model)
    if rest is None and profile.integer is None and not (mode == "dynamic" and profile.folds_casts):
        rest = rest_of(work)
    if (narrow := widen(work)) is not None:
        return narrow.restored(quantize(**{**given, "model": work, "rest": rest}))
    profile = with_codes(profile, scales, asymmetric and mode == "static")
    recipe = recipe_of(mode, recipe)
    excluded = (*exclude, *excluded_by(exclude_from))
    chosen = parse_providers(providers)
    left_out: list[str] = []
    untaught = keep_scales and data is None and not random_data
    if mode == "static":
        only = {"block": block, "tables": tables, "mix_bits": mix_bits,
                "weight_method": weight_method, "double_scales": double_scales}  # fmt: skip
        refuse(mode, only, profile, data)
        changes = Changes(
            calibration=calibration, weights=weights, activations=activations, exclude=excluded,
            granularity=granularity, format=format, io_dtype=io_dtype, domains=domains,
            overrides=None if overrides is None else str(overrides), latency_aware=latency_aware,
            costs=costs_from(costs, profile, progress, threads),
        )  # fmt: skip
        check_format(format, profile)
        steps = change(Recipe.resolve(recipe), changes)
        steps = with_floats(steps, profile, format, keep_scales)
        steps = legalized(steps, profile)
        steps = trained.with_trained(steps, calibrates=not untaught) if keep_scales else steps
        if data_free:
            steps, left_out = without_data(steps, calibration)
        elif statistics is not None:
            steps, left_out = without_runs(steps)
    else:
        from onnxq.api.weight_options import WeightOptions, changed  # mode static starts without

        useless = {
            "calibration": calibration, "activations": activations, "overrides": overrides,
            "statistics": statistics, "io_dtype": io_dtype, "keep_unfused": keep_unfused,
            "format": None if format == "qdq" else format, "report_data": report_data,
            "min_sqnr": min_sqnr, "bench": bench, "require_speedup": require_speedup,
            "data_free": data_free, "latency_aware": latency_aware, "keep_scales": keep_scales,
            "scales": scales,
            "costs": None if costs == "target" else costs,
        }  # fmt: skip
        refuse(mode, useless, profile, data)
        wanted = WeightOptions(
            weights=weights, granularity=granularity, block=block, asymmetric=asymmetric,
            method=weight_method, tables=tables, mix_bits=mix_bits, exclude=excluded,
            domains=domains if mode == "weights" else None, double_scales=double_scales,
        )  # fmt: skip
        steps = changed(Recipe.resolve(recipe), wanted, profile)
        profile = standard_only(profile, domains)
    limits = find_limits(profile, max_opset, runtime_version)
    (trained.prepare if keep_scales else refuse_quantized)(work)
    asked = max_opset is not None or runtime_version is not None
    steps = keep_to(with_rest(steps, rest, profile, mode), work, profile, limits, asked)
    planned_for = replace(
        profile, opset=min(profile.opset, limits.opset), costs=costs_in(steps) or profile.costs
    )
    check_made_up(work, data, data_free, random_data, statistics, input_range, keep_scales)
    run: Calibration | None = None
    if mode == "static" or data is not None or random_data:
        large = mode != "static" and not state and work.stored_bytes() > LARGEST_LOOKED_AT
        run = (open_large if large else trained.opening(data_free, untaught))(
            work, data, report_data=report_data, preprocess=preprocess, random=random_data,
            seed=seed, statistics=statistics, providers=chosen, progress=progress,
            ranges=input_range, states=state,
        )  # fmt: skip
    timed = bench or require_speedup is not None
    if mode == "static" and run is not None:
        options = {k: given[k] for k in PASSED_ON}
        if data_free:
            options["calibration"] = calibration
        again = partial(quantize, target=profile, **options)
        inside = Inside(
            quantize=again, keep_scales=keep_scales, data_free=data_free, providers=chosen,
            calibrates=not untaught,
        )  # fmt: skip
        result = with_ranges(work, run, StaticCall(
            steps, planned_for, limits, Effort(EFFECTS_S, metric), timed, threads, chosen, progress,
            profile=profile, simulate=format == "simulate", rest=rest is not None,
            detail=report_detail or ("basic" if steps.name == "fast" else "layers"),
            keep_unfused=keep_unfused, keep_scales=keep_scales, data_free=data_free,
            keeps_statistics=statistics is not None or run is data,
            statistics_only=statistics is not None,
            state=(state or {}) if io_dtype is None else {}, left_out=tuple(left_out),
            machine=(f"target {profile.name}: {detect()[1]}",) if target == "auto" else (),
            inside=inside,
        ))  # fmt: skip
    else:
        effort = Effort(EFFECTS_S if report_detail == "full" else 0.0, metric)
        call = Call(steps, planned_for, limits, effort, timed, threads, chosen, progress)
        untouched = work.clone() if state else work
        result = without_ranges(work, run, call)
        if state and run is not None:
            seen = run.report_feeds()
            add_states(result.report, untouched, result.model, seen, state, chosen)
    demand(result, require_quantized, min_sqnr, require_coverage, require_speedup)
    return result
