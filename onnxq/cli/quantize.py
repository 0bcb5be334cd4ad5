"""``onnxq quantize``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from onnxq.cli.options import (
    AsJson,
    Asymmetric,
    Block,
    DataFree,
    Debug,
    Domains,
    Granularity,
    InputRange,
    KeepUnfused,
    LatencyAware,
    Mode,
    ModelFile,
    Quiet,
    RandomData,
    RecipeText,
    Tables,
    Target,
    WeightMethod,
)

_MAKE, _DATA, _WHERE, _DEMAND = (
    "What to make", "Data", "What to leave out or change", "What to demand",
)  # fmt: skip


def quantize(
    model: ModelFile,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="File to write.")],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            rich_help_panel=_DATA,
            help="Calibration data: .npz, .npy, a folder, or package.module:function.",
        ),
    ] = None,
    target: Target = "auto",
    recipe: RecipeText = "balanced",
    mode: Mode = "static",
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="C",
            rich_help_panel=_MAKE,
            help="minmax, moving-average, minmax-mean, percentile, entropy, mse or auto; "
            "default: the recipe's.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="D", help="Of weights: int8, …, ternary.", rich_help_panel=_MAKE),
    ] = None,
    activations: Annotated[
        str | None,
        typer.Option(metavar="D", help="Format of activations: uint8, …", rich_help_panel=_MAKE),
    ] = None,
    granularity: Granularity = None,
    block: Block = None,
    asymmetric: Asymmetric = False,
    weight_method: WeightMethod = None,
    tables: Tables = None,
    format_: Annotated[
        Literal["qdq", "qdq-float", "qoperator", "simulate"],
        typer.Option(
            "--format",
            rich_help_panel=_MAKE,
            help="qdq: integer weights. qdq-float: float weights between Q and DQ. qoperator: "
            "operators on codes. simulate: the target's integers in explicit arithmetic.",
        ),
    ] = "qdq",
    simulate: Annotated[
        bool, typer.Option("--simulate", rich_help_panel=_MAKE, help="As --format simulate.")
    ] = False,
    domains: Domains = None,
    io_dtype: Annotated[
        str | None,
        typer.Option(
            metavar="D",
            rich_help_panel=_MAKE,
            help="Inputs and outputs as uint8 or int8 codes instead of float.",
        ),
    ] = None,
    rounding: Annotated[
        str | None,
        typer.Option(
            metavar="R",
            rich_help_panel=_MAKE,
            help="Of results, on targets without floating point: half-up, floor, …; "
            "default: the target's.",
        ),
    ] = None,
    bias_bits: Annotated[
        int | None,
        typer.Option(metavar="N", help="Width of biases there: 8 to 32.", rich_help_panel=_MAKE),
    ] = None,
    max_opset: Annotated[
        int | None,
        typer.Option(metavar="N", help="Highest opset to write.", rich_help_panel=_MAKE),
    ] = None,
    runtime_version: Annotated[
        str | None,
        typer.Option(
            metavar="V", help="ONNX Runtime version that must run it.", rich_help_panel=_MAKE
        ),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            metavar="S",
            rich_help_panel=_DATA,
            help="For images: 'resize=256,crop=224,rgb,scale=1/255,mean=…,std=…,nchw' or a TOML "
            "file.",
        ),
    ] = None,
    report_data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Data for the report; default: held out.", rich_help_panel=_DATA
        ),
    ] = None,
    random_data: RandomData = False,
    data_free: DataFree = False,
    input_range: InputRange = None,
    statistics: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Reuse or write; what needs more runs is left out.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    providers: Annotated[
        str | None,
        typer.Option(
            metavar="P",
            rich_help_panel=_DATA,
            help="Execution providers for calibration, comma separated, tried in order.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="P",
            rich_help_panel=_WHERE,
            help="Keep in float: a glob on node names, op:TYPE, re:REGEX, from:A,to:B. Repeatable.",
        ),
    ] = None,
    exclude_from: Annotated[
        Path | None,
        typer.Option(
            metavar="REPORT.json",
            rich_help_panel=_WHERE,
            help="Keep in float what a report recommends.",
        ),
    ] = None,
    overrides: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_WHERE,
            help="Format and range per tensor: .toml, or scales of AIMET, PPQ, TensorRT.",
        ),
    ] = None,
    require_quantized: Annotated[
        bool,
        typer.Option(
            "--require-quantized",
            rich_help_panel=_DEMAND,
            help="Exit 5 where nothing was quantized.",
        ),
    ] = False,
    require_coverage: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            rich_help_panel=_DEMAND,
            help="Exit 4 where less of the compute runs on integers.",
        ),
    ] = None,
    require_speedup: Annotated[
        float | None,
        typer.Option(
            metavar="RATIO",
            rich_help_panel=_DEMAND,
            help="Exit 4 where the result is not so many times as fast as float.",
        ),
    ] = None,
    bench: Annotated[
        bool,
        typer.Option("--bench", help="Time float and result in turn, for some seconds."),
    ] = False,
    latency_aware: LatencyAware = False,
    keep_unfused: KeepUnfused = False,
    min_sqnr: Annotated[
        float | None,
        typer.Option(
            metavar="DB", help="Exit 4 where an output's SQNR is lower.", rich_help_panel=_DEMAND
        ),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Error report (.json). Repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="For whatever is random.")] = 0,
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
            block=block,
            asymmetric=asymmetric,
            weight_method=weight_method,
            tables=tables,
            format="simulate" if simulate else format_,
            exclude=tuple(exclude or ()),
            exclude_from=exclude_from,
            overrides=overrides,
            preprocess=preprocess,
            providers=tuple(providers.split(",")) if providers else (),
            statistics=statistics,
            report_data=report_data,
            report_detail="full" if reports else None,
            random_data=random_data,
            data_free=data_free,
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
