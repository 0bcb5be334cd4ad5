"""``onnxq tune``: a precision for each layer, under budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.latency_options import CostsFrom, Threads
from onnxq.cli.options import (
    AsJson,
    Debug,
    Exclude,
    ModelFile,
    OutputFile,
    Preprocess,
    Providers,
    Quiet,
    ReportData,
    Reports,
    Seed,
    Statistics,
    Target,
)

_KEEP, _CHOOSE, _DATA = "What to keep to", "What to choose from", "Data"


def tune(
    model: ModelFile,
    output: OutputFile,
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            rich_help_panel=_DATA,
            help="Calibration data: .npz, .npy, a folder, or package.module:function.",
        ),
    ],
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            rich_help_panel=_KEEP,
            help="Most that the metric may fall; without one, noise of the outputs in percent of "
            "the signal: 0.5 is 23 dB.",
        ),
    ] = None,
    min_sqnr: Annotated[
        float | None,
        typer.Option(metavar="DB", help="Least SQNR of every output.", rich_help_panel=_KEEP),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="30% of the float model's, or 1.5MB.", rich_help_panel=_KEEP
        ),
    ] = None,
    max_macs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="P=PERCENT",
            rich_help_panel=_KEEP,
            help="Most of the multiply-accumulates at a precision: float=10. Repeatable.",
        ),
    ] = None,
    min_macs: Annotated[
        list[str] | None,
        typer.Option(metavar="P=PERCENT", help="Least, likewise.", rich_help_panel=_KEEP),
    ] = None,
    max_latency: Annotated[
        float | None,
        typer.Option(metavar="MS", help="Of a run, measured here.", rich_help_panel=_KEEP),
    ] = None,
    min_speedup: Annotated[
        float | None,
        typer.Option(
            metavar="RATIO", help="Times as fast as float, measured here.", rich_help_panel=_KEEP
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="M",
            rich_help_panel=_KEEP,
            help="package.module:function, called as f(run) → number, higher is better; "
            "run({input: array}) gives {output: array}.",
        ),
    ] = None,
    target: Target = "auto",
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="R",
            rich_help_panel=_CHOOSE,
            help="Repeatable; default: fast, balanced, and best where these leave layers in float.",
        ),
    ] = None,
    precisions: Annotated[
        str | None,
        typer.Option(
            metavar="P,P",
            help="Of float, 16, 8, 4; default: all of the target's.",
            rich_help_panel=_CHOOSE,
        ),
    ] = None,
    exclude: Exclude = None,
    preprocess: Preprocess = None,
    report_data: ReportData = None,
    statistics: Statistics = None,
    providers: Providers = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Measurements, kept as they are found, reused later; default: OUT.tune.jsonl.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="The front as a picture.")
    ] = None,
    points: Annotated[
        int, typer.Option(metavar="N", min=0, help="Corners of the front measured for it.")
    ] = 4,
    max_time: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds after which no further candidate begins."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Candidates at once; default: one a core, 4 at most."
        ),
    ] = None,
    report: Reports = None,
    costs: CostsFrom = "target",
    threads: Threads = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Choose float, 16, 8 or 4 bits for each layer, and a recipe, under budgets.

    Writes OUT, OUT.toml (the recipe that 'onnxq quantize' makes it with again) and a journal with
    which the same command, interrupted or with other budgets, goes on.
    """
    from onnxq.cli.console import out, write_json
    from onnxq.cli.files import check_output, check_report, named, write_report, write_text
    from onnxq.cli.progress import ProgressLine
    from onnxq.cli.recipe import to_toml
    from onnxq.errors import ConditionError

    reports = report or []
    recipe_file = output.with_name(f"{output.name}.toml")
    journal = journal or output.with_name(f"{output.name}.tune.jsonl")
    inputs = [model, Path(data)]
    for path in (output, recipe_file, journal, *([plot] if plot else [])):
        check_output(path, inputs=inputs)
    for path in reports:
        check_report(path)

    from onnxq.api.tune import tune as run_tune
    from onnxq.report.tune.svg import to_svg
    from onnxq.report.tune.terminal import render as render_tune

    with ProgressLine(quiet=quiet or json) as progress:
        found = run_tune(
            model, data=data, max_drop=max_drop, min_sqnr=min_sqnr, max_size=max_size,
            max_macs=max_macs or (), min_macs=min_macs or (), max_latency=max_latency,
            min_speedup=min_speedup, metric=metric, target=target, recipes=recipe or (),
            precisions=tuple(precisions.split(",")) if precisions else (),
            exclude=exclude or (), preprocess=preprocess,
            providers=tuple(providers.split(",")) if providers else (), report_data=report_data,
            statistics=statistics, journal=journal, points=points, max_seconds=max_time, jobs=jobs,
            costs=costs, threads=threads, seed=seed, progress=progress,
        )  # fmt: skip
    files: dict[str, Path] = {}
    if not found.missed:
        found.save(output)
        write_text(to_toml(found.recipe.name, found.recipe), recipe_file)
        files = {"model": output, "recipe": recipe_file}
    for path in reports:
        write_report(found.report, path)
    section = found.report["tune"]
    if plot is not None:
        write_text(to_svg(section), plot)
        files["plot"] = plot
    if json:
        write_json(found.report)
    elif not quiet:
        from onnxq.report.terminal import render_files, summary

        out().print(summary(found.report))
        render_tune(section, out())
        render_files({**files, **named(reports), "journal": journal}, out())
    if found.missed:
        raise ConditionError(
            "no candidate keeps to all budgets",
            why="the nearest: " + "; ".join(found.missed),
            hint="other budgets; what was measured is in the journal and need not be repeated",
        )
