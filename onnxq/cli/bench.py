"""``onnxq bench``: how fast models are, side by side, and where the time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import AsJson, Debug


def bench(
    original: Annotated[Path, typer.Argument(metavar="FLOAT", help="The float model.")],
    quantized: Annotated[
        list[Path], typer.Argument(metavar="QUANTIZED...", help="Models made of it.")
    ],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="As in 'quantize'; default: random numbers."),
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="S", help="For images, as in 'quantize'.")
    ] = None,
    threads: Annotated[
        str, typer.Option(metavar="N,N", help="Threads, or several counts; default: all cores.")
    ] = "",
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0, help="How long to measure, about.")
    ] = 10.0,
    rounds: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Rounds, instead of seconds.")
    ] = None,
    batch: Annotated[
        str,
        typer.Option(
            metavar="N,N",
            help="Samples in a run, or several counts; default: the model's, where it is fixed, "
            "else 1.",
        ),
    ] = "",
    providers: Annotated[
        str, typer.Option(metavar="P", help="Execution providers, comma separated, in order.")
    ] = "",
    require_speedup: Annotated[
        float | None,
        typer.Option(metavar="RATIO", help="Exit 4 where a model is not so many times as fast."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="For random numbers.")] = 0,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Time a float model and quantized ones in turn.

    Each round runs every model once, in changing order, so that whatever else the machine does
    meets all of them. The speed is the median of the ratios within rounds. With several threads or
    batches, each is measured with each, in a part of the time.
    """
    from onnxq.calibrate.masks import with_masks
    from onnxq.calibrate.random_data import random_data
    from onnxq.calibrate.sources import open_data
    from onnxq.cli.console import out, write_json
    from onnxq.errors import OptionError
    from onnxq.graph import Model
    from onnxq.report.bench.feeds import BATCHES, batches, fixed_batch
    from onnxq.report.bench.run import SCHEMA, Effort, demand
    from onnxq.report.bench.run import bench as run_bench
    from onnxq.report.bench.terminal import render
    from onnxq.runtime.providers import parse_providers
    from onnxq.runtime.session import Session

    chosen = parse_providers(providers)
    paths = [original, *quantized]
    plain = len({path.name for path in paths}) == len(paths)
    models = {path.name if plain else str(path): Model.load(path) for path in paths}
    if len(models) < len(paths):
        raise OptionError("a model is given twice", hint="name each file once")
    first = next(iter(models.values()))
    inputs = Session(first, chosen, optimize=False).inputs
    masked = with_masks(inputs, first)
    sizes = counts(batch, "--batch") or [fixed_batch(inputs) or 1]
    used: list[int] | list[None] = counts(threads, "--threads") or [None]
    wanted = [(size, count) for size in sizes for count in used]
    measured = []
    for size, count in wanted:
        if data is None:
            source = random_data(inputs, samples=BATCHES * size, seed=seed)
        else:
            source = open_data(data, masked, preprocess, seed)
        found = run_bench(
            models, batches(source, inputs, size), batch=size, threads=count, providers=chosen,
            effort=Effort(rounds=rounds, seconds=seconds / len(wanted)),
        )  # fmt: skip
        found["data"] = "random numbers" if data is None else data
        measured.append(found)
        if not json:
            render(measured[-1], out(), profiles=len(wanted) == 1)
    if json:
        several = {"schema": SCHEMA, "settings": measured}
        write_json(several if len(wanted) > 1 else measured[0])
    if require_speedup is not None:
        for found in measured:
            demand(found, require_speedup)


def counts(text: str, option: str) -> list[int]:
    """The numbers of *text*, such as ``1,8``.

    Raises:
        OptionError: *option* is given something else.
    """
    from onnxq.errors import OptionError

    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise OptionError(f"{option} {text}: whole numbers from 1 on", hint=f"{option} 1,8")
    return [int(part) for part in parts]
