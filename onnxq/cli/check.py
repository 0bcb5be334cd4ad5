"""``onnxq check``: what of a model really runs on integers, and why not the rest."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxq.cli.options import AsJson, Debug, ModelFile, Target


def check(
    model: ModelFile,
    target: Target = "auto",
    providers: Annotated[
        str, typer.Option(metavar="P", help="Execution providers, comma separated, in order.")
    ] = "",
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show which nodes really run on integers, which do not and why, and what may saturate.

    The model is loaded with full optimization, and the graph that ONNX Runtime makes of it is
    looked at; any model will do, whatever tool made it.
    """
    from onnxq.cli.console import out, write_json
    from onnxq.graph import Model
    from onnxq.report.coverage import check as run_check
    from onnxq.report.coverage.check import SCHEMA
    from onnxq.report.coverage.cpus import kernels_for_int8
    from onnxq.report.coverage.terminal import render
    from onnxq.runtime.providers import parse_providers
    from onnxq.targets import get_target

    profile = get_target(target)
    int8 = None if target == "auto" else kernels_for_int8(profile)
    found = run_check(Model.load(model), parse_providers(providers), int8=int8)
    if json:
        write_json({
            "schema": SCHEMA, "model": model.name, "target": profile.name, **found.as_dict()
        })  # fmt: skip
        return
    render(found, out(), model=model.name, target=profile.name)
