"""``onnxq report``: what a quantized model that is there already has lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from onnxq.cli.files import REPORT_FORMATS
from onnxq.cli.options import AsJson, Debug, Quiet

_FORMATS = ", ".join(REPORT_FORMATS)


def report(
    original: Annotated[Path, typer.Argument(metavar="FLOAT", help="The float model.")],
    quantized: Annotated[Path, typer.Argument(metavar="QUANTIZED", help="The quantized model.")],
    data: Annotated[
        str,
        typer.Option(metavar="DATA", help=".npz, .npy, a folder, or package.module:function."),
    ],
    output: Annotated[
        list[Path] | None,
        typer.Option("--output", "-o", metavar="FILE", help=f"Report ({_FORMATS}). Repeatable."),
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="S", help="For images, as in 'quantize'.")
    ] = None,
    providers: Annotated[
        str, typer.Option(metavar="P", help="Execution providers, comma separated, in order.")
    ] = "",
    arithmetic: Annotated[
        str,
        typer.Option(
            metavar="A",
            help="How a layer is measured alone: 'fake-quantized' (exact integers), or 'kernel' "
            "(the runtime's own integer kernel, where saturation shows).",
        ),
    ] = "fake-quantized",
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="M",
            help="package.module:function, your own measure of the outputs on a sample: "
            "f(float_outputs, quantized_outputs), both arrays by name.",
        ),
    ] = None,
    budget: Annotated[
        float,
        typer.Option(
            metavar="S", min=0, help="Seconds for what single layers do to the outputs, about."
        ),
    ] = 15.0,
    quiet: Quiet = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare a quantized model, made by any tool, with its float original."""
    from onnxq.cli.console import out, write_json
    from onnxq.cli.files import check_report, named, write_report
    from onnxq.cli.progress import ProgressLine

    files = output or []
    for path in files:
        check_report(path)

    from onnxq.calibrate.functions import load_function
    from onnxq.calibrate.masks import with_masks
    from onnxq.calibrate.sources import open_data
    from onnxq.graph import Model
    from onnxq.report.advise import Effort
    from onnxq.report.compare import compare
    from onnxq.report.isolated import Arithmetic
    from onnxq.runtime.providers import parse_providers
    from onnxq.runtime.session import Session

    chosen = parse_providers(providers)
    effort = Effort(budget, None if metric is None else load_function(metric, "metric"))
    how = cast(Arithmetic, arithmetic)  # checked where it is used
    models = Model.load(original), Model.load(quantized)
    with ProgressLine(quiet=quiet or json) as progress:
        progress.stage("report")
        inputs = Session(models[0].to_proto(), chosen, optimize=False).inputs
        source = open_data(data, with_masks(inputs, models[0]), preprocess)
        samples = progress.each(source, source.length)
        found = compare(*models, samples, providers=chosen, arithmetic=how, effort=effort)
        found["data"]["digest"] = source.digest()
    for path in files:
        write_report(found, path)
    if json:
        write_json(found)
    elif not quiet:
        from onnxq.report.terminal import render

        render(found, out(), files=named(files))
