"""The commands, gathered. What is heavy is imported inside the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxq.cli.bench import bench
from onnxq.cli.check import check
from onnxq.cli.demo import demo
from onnxq.cli.diff import diff
from onnxq.cli.explain import explain
from onnxq.cli.export import export
from onnxq.cli.gate import gate
from onnxq.cli.inspect import inspect
from onnxq.cli.passes import passes
from onnxq.cli.quantize import quantize
from onnxq.cli.recipe import recipe
from onnxq.cli.report import report
from onnxq.cli.run import run
from onnxq.cli.targets import targets
from onnxq.cli.tune import tune
from onnxq.cli.verify import verify

app = typer.Typer(
    help="Quantize ONNX models, and see where the accuracy goes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from onnxq import __version__

        typer.echo(f"onnxq {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Quantize ONNX models, and see where the accuracy goes."""


for _command in (
    quantize, tune, inspect, report, check, bench, diff, gate, run, passes, explain, targets,
    recipe, demo, export, verify,
):  # fmt: skip
    app.command()(_command)
