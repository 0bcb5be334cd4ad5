"""``onnxq check``: what of a model really runs on integers, and why not the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import AsJson, Debug, ModelFile


def check(
    model: ModelFile,
    target: Annotated[
        str,
        typer.Option(
            metavar="T",
            help="auto, x86, x86-avx2, x86-vnni or arm: what ONNX Runtime makes of it there; "
            "tensorrt, openvino or qnn: what breaks the documented rules of that runtime.",
        ),
    ] = "auto",
    providers: Annotated[
        str, typer.Option(metavar="P", help="Execution providers, comma separated, in order.")
    ] = "",
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA", help="Samples, as for quantize: compute is counted on the first one."
        ),
    ] = "",
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show which nodes really run on integers, which do not and why, and what may saturate.

    The model is loaded with full optimization, and the graph that ONNX Runtime makes of it is
    looked at; any model will do, whatever tool made it. Other runtimes need not be there.
    """
    from onnxq.report.lint.runtimes import RUNTIMES

    if target in RUNTIMES:
        _lint(model, target, json)
    else:
        _cover(model, target, providers, data, json)


def _cover(model: Path, target: str, providers: str, data: str, json: bool) -> None:
    from onnxq.calibrate.sources import open_data
    from onnxq.cli.console import out, write_json
    from onnxq.errors import UnknownNameError
    from onnxq.graph import Model
    from onnxq.report.coverage import check as run_check
    from onnxq.report.coverage.check import SCHEMA
    from onnxq.report.coverage.cpus import kernels_for_int8
    from onnxq.report.coverage.terminal import render
    from onnxq.report.lint.runtimes import RUNTIMES
    from onnxq.runtime.providers import parse_providers
    from onnxq.runtime.session import Session
    from onnxq.targets import TARGETS, get_target

    if target not in ("auto", *TARGETS):
        raise UnknownNameError("target", target, ["auto", *TARGETS, *RUNTIMES])
    profile = get_target(target)
    int8 = None if target == "auto" else kernels_for_int8(profile)
    given = Model.load(model)
    feed = open_data(data, Session(given, optimize=False).inputs).first() if data else None
    found = run_check(given, parse_providers(providers), int8=int8, feed=feed)
    if json:
        write_json({
            "schema": SCHEMA, "model": model.name, "target": profile.name, **found.as_dict()
        })  # fmt: skip
        return
    render(found, out(), model=model.name, target=profile.name)


def _lint(model: Path, target: str, json: bool) -> None:
    from dataclasses import asdict

    from onnxq.cli.console import out, write_json
    from onnxq.graph import Model
    from onnxq.report.coverage.check import SCHEMA
    from onnxq.report.lint.run import lint
    from onnxq.report.lint.runtimes import RUNTIMES
    from onnxq.report.lint.terminal import render

    runtime = RUNTIMES[target]
    problems = lint(Model.load(model), runtime)
    if json:
        write_json({
            "schema": SCHEMA, "model": model.name, "target": target, "source": runtime.source,
            "problems": [asdict(p) for p in problems],
        })  # fmt: skip
        return
    render(problems, out(), model=model.name, runtime=runtime)
