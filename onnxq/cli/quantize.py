"""``onnxq quantize``: the main job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from onnxq.cli.latency_options import CostsFrom, LatencyAware, Threads
from onnxq.cli.options import (
    Activations,
    AsJson,
    Bench,
    BiasBits,
    Calibration,
    Data,
    DataFree,
    Debug,
    Domains,
    Exclude,
    ExcludeFrom,
    Format,
    Granularity,
    InputRange,
    IoDtype,
    KeepScales,
    KeepUnfused,
    MaxOpset,
    MinSqnr,
    Mode,
    ModelFile,
    OutputFile,
    Overrides,
    Preprocess,
    Providers,
    Quiet,
    RandomData,
    RecipeText,
    ReportData,
    Reports,
    RequireCoverage,
    RequireQuantized,
    RequireSpeedup,
    Rest,
    Rounding,
    RuntimeVersion,
    Scales,
    Seed,
    Simulate,
    State,
    Statistics,
    Target,
    Weights,
)
from onnxq.cli.weight_options import (
    Asymmetric,
    Block,
    DoubleScales,
    MixBits,
    Tables,
    WeightMethod,
)


def quantize(
    model: ModelFile,
    output: OutputFile,
    data: Data = None,
    target: Target = "auto",
    recipe: RecipeText = "balanced",
    mode: Mode = "static",
    calibration: Calibration = None,
    weights: Weights = None,
    activations: Activations = None,
    granularity: Granularity = None,
    scales: Scales = None,
    block: Block = None,
    asymmetric: Asymmetric = False,
    weight_method: WeightMethod = None,
    tables: Tables = None,
    mix_bits: MixBits = None,
    double_scales: DoubleScales = False,
    format_: Format = "qdq",
    simulate: Simulate = False,
    domains: Domains = None,
    io_dtype: IoDtype = None,
    rounding: Rounding = None,
    bias_bits: BiasBits = None,
    max_opset: MaxOpset = None,
    runtime_version: RuntimeVersion = None,
    preprocess: Preprocess = None,
    report_data: ReportData = None,
    state: State = None,
    random_data: RandomData = False,
    data_free: DataFree = False,
    input_range: InputRange = None,
    statistics: Statistics = None,
    providers: Providers = None,
    exclude: Exclude = None,
    exclude_from: ExcludeFrom = None,
    overrides: Overrides = None,
    require_quantized: RequireQuantized = False,
    require_coverage: RequireCoverage = None,
    require_speedup: RequireSpeedup = None,
    bench: Bench = False,
    latency_aware: LatencyAware = False,
    rest: Rest = None,
    costs: CostsFrom = "target",
    threads: Threads = None,
    keep_scales: KeepScales = False,
    keep_unfused: KeepUnfused = False,
    min_sqnr: MinSqnr = None,
    report: Reports = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Quantize a model, and report what it costs."""
    from onnxq.cli.console import out, write_json
    from onnxq.cli.files import check_output, check_report, named, write_report
    from onnxq.cli.progress import ProgressLine

    reports = report or []
    check_output(output, inputs=[model, Path(data) if data else None])
    for path in reports:
        check_report(path)
    if statistics is not None and not statistics.exists():
        check_output(statistics)

    from onnxq.api.modes import recipe_of
    from onnxq.api.without_data import input_ranges
    from onnxq.calibrate.states import parse_states
    from onnxq.pipeline import Recipe
    from onnxq.targets import get_target

    get_target(target)
    passes = Recipe.resolve(recipe_of(mode, recipe))

    from onnxq.api import quantize as run_quantize

    with ProgressLine(quiet=quiet or json) as progress:
        result = run_quantize(
            model,
            data=data,
            target=target,
            recipe=passes,
            mode=mode,
            calibration=calibration,
            weights=weights,
            activations=activations,
            granularity=granularity,
            scales=scales,
            block=block,
            asymmetric=asymmetric,
            weight_method=weight_method,
            tables=tables,
            mix_bits=mix_bits,
            double_scales=double_scales,
            format="simulate" if simulate else format_,
            exclude=tuple(exclude or ()),
            exclude_from=exclude_from,
            overrides=overrides,
            preprocess=preprocess,
            providers=tuple(providers.split(",")) if providers else (),
            statistics=statistics,
            report_data=report_data,
            state=parse_states(state or ()),
            report_detail=_detail(reports, unseen=quiet and not json),
            random_data=random_data,
            data_free=data_free,
            keep_scales=keep_scales,
            rest=rest,
            input_range=input_ranges(input_range or ()),
            io_dtype=io_dtype,
            domains=domains,
            rounding=rounding,
            bias_bits=bias_bits,
            max_opset=max_opset,
            runtime_version=runtime_version,
            require_quantized=require_quantized,
            require_coverage=require_coverage,
            require_speedup=require_speedup,
            min_sqnr=min_sqnr,
            keep_unfused=keep_unfused,
            latency_aware=latency_aware,
            costs=costs,
            threads=threads,
            bench=bench,
            seed=seed,
            progress=progress,
        )
        result.save(output)
        for path in reports:
            write_report(result.report, path)
    if json:
        write_json(result.report)
    elif not quiet:
        from onnxq.report.terminal import render

        render(result.report, out(), files={"model": output, **named(reports)})


def _detail(reports: Sequence[Path], *, unseen: bool) -> Literal["full", "basic"] | None:
    """How much is measured: all for files, and of single layers nothing where nobody sees it."""
    return "full" if reports else "basic" if unseen else None
