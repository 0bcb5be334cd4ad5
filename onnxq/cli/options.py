"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

_MAKE, _DATA, _WHERE, _DEMAND = (
    "What to make", "Data", "What to leave out or change", "What to demand",
)  # fmt: skip

ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX model file.")]
Target = Annotated[
    str,
    typer.Option(
        "--target", metavar="T", help="Hardware profile; 'onnxq targets' lists them.",
        rich_help_panel=_MAKE,
    ),
]  # fmt: skip
RecipeText = Annotated[
    str,
    typer.Option(
        "--recipe", metavar="R",
        help="fast, balanced, best, FILE.toml, or 'pass,pass{option=value},…'.",
        rich_help_panel=_MAKE,
    ),
]  # fmt: skip
Mode = Annotated[
    str,
    typer.Option(
        "--mode", metavar="M", rich_help_panel=_MAKE,
        help="static, dynamic (scales computed in each run) or weights (layers compute in float); "
        "the last two need no data.",
    ),
]  # fmt: skip
Granularity = Annotated[
    str | None,
    typer.Option(
        "--granularity", metavar="G", rich_help_panel=_MAKE,
        help="Scales of weights: tensor, channel or block:N. model: one for all weights, "
        "one for all activations, to compare with.",
    ),
]  # fmt: skip
Scales = Annotated[
    Literal["power-of-two"] | None,
    typer.Option(
        "--scales", rich_help_panel=_MAKE,
        help="In mode static: which scales there may be; default: what the target takes.",
    ),
]  # fmt: skip
Domains = Annotated[
    Literal["microsoft", "standard"] | None,
    typer.Option(
        "--domains", rich_help_panel=_MAKE,
        help="For qoperator and dynamic: ONNX Runtime's operators too (default), or ONNX's; "
        "for mode weights: ONNX's (default), or MatMulNBits and GatherBlockQuantized.",
    ),
]  # fmt: skip
KeepUnfused = Annotated[
    bool,
    typer.Option(
        "--keep-unfused", metavar="", rich_help_panel=_WHERE,
        help="Leave quantized what the runtime does not fuse into integer kernels.",
    ),
]  # fmt: skip
State = Annotated[
    list[str] | None,
    typer.Option(
        "--state", metavar="OUT:IN", rich_help_panel=_DATA,
        help="Feed an output back into an input, step after step; the data holds the others.",
    ),
]  # fmt: skip
RandomData = Annotated[
    bool,
    typer.Option(
        "--random-data", rich_help_panel=_DATA,
        help="Go on without data; the result is marked 'not calibrated'.",
    ),
]  # fmt: skip
Rest = Annotated[
    str | None,
    typer.Option(
        "--rest", metavar="T", rich_help_panel=_MAKE,
        help="How what stays in float is stored: fp16 (half the bytes; it computes as before), "
        "float32, or in mode dynamic int8 or int16.",
    ),
]  # fmt: skip
KeepScales = Annotated[
    bool,
    typer.Option(
        "--keep-scales", metavar="", rich_help_panel=_WHERE,
        help="Keep the scales of a model with fake quantization from training.",
    ),
]  # fmt: skip
DataFree = Annotated[
    bool,
    typer.Option(
        "--data-free", rich_help_panel=_DATA,
        help="Go on without data: ranges from batch-norm statistics and weights.",
    ),
]  # fmt: skip
InputRange = Annotated[
    list[str] | None,
    typer.Option(
        "--input-range", metavar="NAME=LOW:HIGH", rich_help_panel=_DATA,
        help="What an input holds, where there is no data; default: standard normal values.",
    ),
]  # fmt: skip
OutputFile = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="File to write.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        rich_help_panel=_DATA,
        help="Calibration data: .npz, .npy, a folder, or package.module:function.",
    ),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        metavar="C",
        rich_help_panel=_MAKE,
        help="minmax, moving-average, minmax-mean, percentile, entropy, mse or auto; "
        "default: the recipe's.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(metavar="D", help="Of weights: int8, …, ternary.", rich_help_panel=_MAKE),
]
Activations = Annotated[
    str | None,
    typer.Option(
        metavar="D", help="Format of activations: uint8, int16, float8, …", rich_help_panel=_MAKE
    ),
]
Format = Annotated[
    Literal["qdq", "qdq-float", "qoperator", "simulate"],
    typer.Option(
        "--format",
        rich_help_panel=_MAKE,
        help="qdq: integer weights. qdq-float: float weights between Q and DQ. qoperator: "
        "operators on codes. simulate: the target's integers in explicit arithmetic.",
    ),
]
Simulate = Annotated[
    bool, typer.Option("--simulate", rich_help_panel=_MAKE, help="As --format simulate.")
]
IoDtype = Annotated[
    str | None,
    typer.Option(
        metavar="D",
        rich_help_panel=_MAKE,
        help="Inputs and outputs as uint8 or int8 codes instead of float.",
    ),
]
Rounding = Annotated[
    str | None,
    typer.Option(
        metavar="R",
        rich_help_panel=_MAKE,
        help="Of results, on targets without floating point: half-up, floor, …; "
        "default: the target's.",
    ),
]
BiasBits = Annotated[
    int | None,
    typer.Option(metavar="N", help="Width of biases there: 8 to 32.", rich_help_panel=_MAKE),
]
MaxOpset = Annotated[
    int | None,
    typer.Option(metavar="N", help="Highest opset to write.", rich_help_panel=_MAKE),
]
RuntimeVersion = Annotated[
    str | None,
    typer.Option(metavar="V", help="ONNX Runtime version that must run it.", rich_help_panel=_MAKE),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="S",
        rich_help_panel=_DATA,
        help="For images: 'resize=256,crop=224,rgb,scale=1/255,mean=…,std=…,nchw' or a TOML file.",
    ),
]
ReportData = Annotated[
    str | None,
    typer.Option(
        metavar="DATA", help="Data for the report; default: held out.", rich_help_panel=_DATA
    ),
]
Statistics = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Reuse or write; 'quantize' leaves out what needs more runs.",
        rich_help_panel=_DATA,
    ),
]
Providers = Annotated[
    str | None,
    typer.Option(
        metavar="P",
        rich_help_panel=_DATA,
        help="Execution providers for calibration, comma separated, tried in order.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="P",
        rich_help_panel=_WHERE,
        help="Keep in float: a glob on node names, op:TYPE, re:REGEX, from:A,to:B. Repeatable.",
    ),
]
ExcludeFrom = Annotated[
    Path | None,
    typer.Option(
        metavar="REPORT.json",
        rich_help_panel=_WHERE,
        help="Keep in float what a report recommends.",
    ),
]
Overrides = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=_WHERE,
        help="Format and range per tensor: .toml, or scales of AIMET, PPQ, TensorRT.",
    ),
]
RequireQuantized = Annotated[
    bool,
    typer.Option(
        "--require-quantized",
        rich_help_panel=_DEMAND,
        help="Exit 5 where nothing was quantized.",
    ),
]
RequireCoverage = Annotated[
    float | None,
    typer.Option(
        metavar="PERCENT",
        rich_help_panel=_DEMAND,
        help="Exit 4 where less of the compute runs on integers.",
    ),
]
RequireSpeedup = Annotated[
    float | None,
    typer.Option(
        metavar="RATIO",
        rich_help_panel=_DEMAND,
        help="Exit 4 where the result is not so many times as fast as float.",
    ),
]
Bench = Annotated[
    bool,
    typer.Option("--bench", help="Time float and result in turn, for some seconds."),
]
MinSqnr = Annotated[
    float | None,
    typer.Option(
        metavar="DB", help="Exit 4 where an output's SQNR is lower.", rich_help_panel=_DEMAND
    ),
]
Reports = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Error report (.json, .html, .md, .xml). Repeatable."),
]
Seed = Annotated[int, typer.Option(metavar="N", help="For whatever is random.")]
AsJson = Annotated[
    bool, typer.Option("--json", metavar="", help="Result as JSON on standard output.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="No progress and no table.")]
Debug = Annotated[bool, typer.Option("--debug", metavar="", help="Show the traceback of an error.")]
