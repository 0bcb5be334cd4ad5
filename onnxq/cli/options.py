"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX model file.")]
Target = Annotated[
    str,
    typer.Option(
        "--target", metavar="T", help="Hardware profile; 'onnxq targets' lists them.",
        rich_help_panel="What to make",
    ),
]  # fmt: skip
RecipeText = Annotated[
    str,
    typer.Option(
        "--recipe", metavar="R",
        help="fast, balanced, best, FILE.toml, or 'pass,pass{option=value},…'.",
        rich_help_panel="What to make",
    ),
]  # fmt: skip
Mode = Annotated[
    str,
    typer.Option(
        "--mode", metavar="M", rich_help_panel="What to make",
        help="static, dynamic (scales computed in each run) or weights (layers compute in float); "
        "the last two need no data.",
    ),
]  # fmt: skip
Block = Annotated[
    int | None,
    typer.Option(
        "--block", metavar="N", rich_help_panel="What to make",
        help="In mode weights: values that share a scale, 32, 64 or 128; default: whole rows.",
    ),
]  # fmt: skip
Asymmetric = Annotated[
    bool,
    typer.Option(
        "--asymmetric", metavar="", rich_help_panel="What to make",
        help="In mode weights: a zero point for each scale.",
    ),
]  # fmt: skip
LatencyAware = Annotated[
    bool,
    typer.Option(
        "--latency-aware", rich_help_panel="What to leave out or change",
        help="Leave in float what is predicted to be slower on integers.",
    ),
]  # fmt: skip
KeepUnfused = Annotated[
    bool,
    typer.Option(
        "--keep-unfused", metavar="", rich_help_panel="What to leave out or change",
        help="Leave quantized what the runtime does not fuse into integer kernels.",
    ),
]  # fmt: skip
RandomData = Annotated[
    bool,
    typer.Option(
        "--random-data", rich_help_panel="Data",
        help="Go on without data; the result is marked 'not calibrated'.",
    ),
]  # fmt: skip
DataFree = Annotated[
    bool,
    typer.Option(
        "--data-free", rich_help_panel="Data",
        help="Go on without data: ranges from batch-norm statistics and weights.",
    ),
]  # fmt: skip
InputRange = Annotated[
    list[str] | None,
    typer.Option(
        "--input-range", metavar="NAME=LOW:HIGH", rich_help_panel="Data",
        help="What an input holds, where there is no data; default: standard normal values.",
    ),
]  # fmt: skip
AsJson = Annotated[
    bool, typer.Option("--json", metavar="", help="Result as JSON on standard output.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="No progress and no table.")]
Debug = Annotated[bool, typer.Option("--debug", metavar="", help="Show the traceback of an error.")]
