"""Options of ``quantize`` on how weights are stored."""

from __future__ import annotations

from typing import Annotated

import typer

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
        help="In mode weights: a zero point for each scale; in mode static: zero points of "
        "activations on targets that do without, such as fpga-pow2.",
    ),
]  # fmt: skip
WeightMethod = Annotated[
    str | None,
    typer.Option(
        "--weight-method", metavar="W", rich_help_panel="What to make",
        help="In mode weights: rtn, mse, hqq, or on samples gptq, awq, awq+gptq; "
        "default: the recipe's.",
    ),
]  # fmt: skip
Tables = Annotated[
    str | None,
    typer.Option(
        "--tables", metavar="D", rich_help_panel="What to make",
        help="In mode weights: format of embeddings; default: int8.",
    ),
]  # fmt: skip
MixBits = Annotated[
    float | None,
    typer.Option(
        "--mix-bits", metavar="PERCENT", rich_help_panel="What to make",
        help="In mode weights: share of weights that get 8 bits where fewer are asked for.",
    ),
]  # fmt: skip
DoubleScales = Annotated[
    bool,
    typer.Option(
        "--double-scales", rich_help_panel="What to make",
        help="In mode weights: scales of blocks as int8, eight to a scale.",
    ),
]  # fmt: skip
