"""``onnxq verify``: integer reference, ONNX Runtime and generated C, value by value."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxq.cli.options import AsJson, Debug, ModelFile, Quiet


def verify(
    model: ModelFile,
    data: Annotated[
        str,
        typer.Option(metavar="DATA", help=".npz, .npy, a folder, or package.module:function."),
    ],
    preprocess: Annotated[
        str | None, typer.Option(metavar="S", help="For images, as in 'quantize'.")
    ] = None,
    c: Annotated[
        bool, typer.Option("--c/--no-c", help="Compile the C and compare it too, where cc is.")
    ] = True,
    simulation: Annotated[
        bool,
        typer.Option(
            "--simulation/--no-simulation", help="Compare the model of explicit arithmetic too."
        ),
    ] = True,
    quiet: Quiet = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare the integer reference of a model with ONNX Runtime and with its C, at every layer.

    The reference is what the model means on integers alone. ONNX Runtime requantizes in float and
    rounds ties to even: with another rounding it may be off by one. The simulation ('quantize
    --simulate' writes it) and the C must equal the reference in every value. Ends with code 4 where
    one of these does not hold.
    """
    from onnxq.calibrate.sources import open_data
    from onnxq.cli.console import out, write_json
    from onnxq.cli.progress import ProgressLine
    from onnxq.errors import ConditionError
    from onnxq.graph import Model
    from onnxq.report.verify import verify as compare
    from onnxq.report.verify.terminal import render
    from onnxq.runtime.session import Session

    loaded = Model.load(model)
    with ProgressLine(quiet=quiet or json) as progress:
        progress.stage("verify")
        source = open_data(data, Session(loaded.to_proto(), optimize=False).inputs, preprocess)
        found = compare(loaded, progress.each(source, source.length), c=c, simulation=simulation)
    if json:
        write_json(found)
    elif not quiet:
        render(found, out())
    for side, name in (("simulation", "simulation model"), ("c", "generated C")):
        if found["holds"][side] is False:
            raise ConditionError(
                f"the {name} differs from the reference",
                why=f"{found[side]['equal']:,} of {found[side]['values']:,} values are equal",
                hint="report this as an error of onnxq, with the model",
            )
    if not found["holds"]["runtime"]:
        bad = next(x["node"] for x in found["layers"] if x["runtime_alone"]["worse"])
        raise ConditionError(
            f"ONNX Runtime is off by more than one at node '{bad}'",
            why="rounding does not explain that",
            hint="look at 'first_difference' of --json",
        )
