"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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
WeightMethod = Annotated[
    str | None,
    typer.Option(
        "--weight-method", metavar="W", rich_help_panel="What to make",
        help="In mode weights: rtn, mse, hqq, or on samples gptq; default: the recipe's.",
    ),
]  # fmt: skip
Tables = Annotated[
    str | None,
    typer.Option(
        "--tables", metavar="D", rich_help_panel="What to make",
        help="In mode weights: format of embeddings; default: int8.",
    ),
]  # fmt: skip
Granularity = Annotated[
    str | None,
    typer.Option(
        "--granularity", metavar="G", rich_help_panel="What to make",
        help="Scales of weights: tensor, channel or block:N. model: one for all weights, "
        "one for all activations, to compare with.",
    ),
]  # fmt: skip
Domains = Annotated[
    Literal["microsoft", "standard"] | None,
    typer.Option(
        "--domains", rich_help_panel="What to make",
        help="For qoperator and dynamic: ONNX Runtime's operators too (default), or ONNX's.",
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
