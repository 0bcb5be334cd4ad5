"""What a call without real data asks for, and what its recipe has to do without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import isfinite
from typing import Any

from onnxq.calibrate.random_data import Ranges
from onnxq.errors import OptionError, UnknownNameError
from onnxq.graph import Model
from onnxq.passes.correct.choose_ranges import ChooseRanges
from onnxq.passes.correct.correct_biases import CorrectBiases
from onnxq.passes.fuse.note_batchnorm import NoteBatchNorm
from onnxq.pipeline import Pass, Recipe, Stage


def input_ranges(texts: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Ranges by name, of texts ``NAME=LOW:HIGH``.

    Raises:
        OptionError: a text is not of that form.
    """
    found = {}
    for text in texts:
        name, _, ends = text.rpartition("=")
        low, _, high = ends.partition(":")
        try:
            found[name] = float(low), float(high)
        except ValueError as error:
            raise OptionError(
                f"--input-range '{text}' cannot be read", hint="NAME=LOW:HIGH, such as x=0:255"
            ) from error
    return found


def check_made_up(
    model: Model, data: Any, free: bool, random: bool, statistics: Any, ranges: Ranges | None,
    trained: bool = False,
) -> None:  # fmt: skip
    """Check what a call says of data that are not real.

    Raises:
        OptionError: options that exclude each other, or a range that is none.
        UnknownNameError: a range of an input that there is not.
    """
    for what, given in (("--data", data is not None), ("--random-data", random),
                        ("--statistics", statistics is not None),
                        ("--keep-scales", trained)):  # fmt: skip
        if free and given:
            raise OptionError(
                f"--data-free does without {what}",
                hint="leave out one of the two; real samples may judge the result: --report-data",
            )
    if not ranges:
        return
    if not free and (data is not None or not random):
        raise OptionError(
            "--input-range has no effect: it says what inputs are where there is no data",
            hint="--data-free or --random-data",
        )
    inputs = [i.name for i in model.graph.inputs]
    for name, (low, high) in ranges.items():
        if name not in inputs:
            raise UnknownNameError("input", name, inputs)
        if not (isfinite(low) and isfinite(high) and low < high):
            raise OptionError(
                f"--input-range {name}={low:g}:{high:g} is no range", hint="smallest, then largest"
            )


def without_data(recipe: Recipe, method: str | None) -> tuple[Recipe, list[str]]:
    """*recipe* for a call without data, and notes on the passes that it had to leave out.

    Ranges are those of *method*, by default as far as values are estimated to reach: how often
    the largest occur, by which other methods clip, is not known.

    Raises:
        OptionError: methods are to be compared on samples.
    """
    given = [p for p in recipe.passes if isinstance(p, ChooseRanges)]
    if "auto" in (method, *(p.method for p in given)):
        raise OptionError(
            "calibration 'auto' compares methods on samples, and there are none",
            hint="--calibration mse",
        )
    kept, left = _without_runs(recipe)
    whole = ChooseRanges(method="minmax")
    passes = [whole if method is None and isinstance(p, ChooseRanges) else p for p in kept]
    names = [p.name for p in passes]
    if NoteBatchNorm.name not in names:
        at = next((i for i, p in enumerate(passes) if p.stage >= Stage.FUSE), len(passes))
        passes.insert(at, NoteBatchNorm())
    notes = [f"data-free: left out, for it needs samples: {', '.join(left)}"] if left else []
    return replace(recipe, passes=tuple(passes)), notes


def without_runs(recipe: Recipe) -> tuple[Recipe, list[str]]:
    """*recipe* for kept statistics, and notes: passes that would run the model again are left out.

    So another choice of nodes, formats or ranges needs no run.
    """
    passes, left = _without_runs(recipe)
    notes = [f"--statistics: left out, for it runs the model again: {', '.join(left)}"]
    return replace(recipe, passes=tuple(passes)), notes if left else []


def _without_runs(recipe: Recipe) -> tuple[list[Pass], list[str]]:
    """Passes that need no samples beyond statistics, and names of the others."""
    passes: list[Pass] = []
    left: list[str] = []
    for one in recipe.passes:
        if not one.needs_samples:
            passes.append(one)
            continue
        left.append(one.name)
        if one.name == "correct-biases-empirical" and CorrectBiases() not in recipe.passes:
            passes.append(CorrectBiases())
    return passes, left
