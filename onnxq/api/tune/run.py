"""``onnxq.tune``: precisions by layer, under budgets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from onnxq.api.costs import check_threads, costs_from
from onnxq.api.tune.budgets import Budgets, shares, size
from onnxq.api.tune.build import Prices
from onnxq.api.tune.candidate import Candidate, Measured
from onnxq.api.tune.evaluate import Evaluator, Metric, Setup
from onnxq.api.tune.jobs import Pool, jobs_for
from onnxq.api.tune.journal import Journal
from onnxq.api.tune.latency import Stopwatch
from onnxq.api.tune.noise import LayerNoise, layer_noise
from onnxq.api.tune.result import TuneResult
from onnxq.api.tune.search import Plan, Search
from onnxq.api.tune.section import section
from onnxq.errors import OptionError, UnknownNameError
from onnxq.pipeline.progress import Progress, Silent
from onnxq.targets import PRECISIONS, Target, get_target

RECIPES = ("fast", "balanced", "best")
SPARE = ("best",)
"""Where the user names none, this one is tried only where others leave layers in float."""


def tune(
    model: Any,
    *,
    data: Any,
    max_drop: float | None = None,
    min_sqnr: float | None = None,
    max_size: str | float | None = None,
    max_macs: Sequence[str] = (),
    min_macs: Sequence[str] = (),
    max_latency: float | None = None,
    min_speedup: float | None = None,
    metric: str | Metric | None = None,
    target: str = "auto",
    recipes: Sequence[str] = (),
    precisions: Sequence[str] = (),
    exclude: Sequence[str] = (),
    preprocess: str | None = None,
    providers: Sequence[str] = (),
    report_data: Any = None,
    statistics: str | PathLike[str] | None = None,
    journal: str | PathLike[str] | None = None,
    points: int = 4,
    max_seconds: float | None = None,
    costs: str = "target",
    threads: int | None = None,
    jobs: int | None = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> TuneResult:
    """Choose a precision for each layer of *model*, and a recipe, under budgets.

    Where accuracy is limited (*max_drop*, *min_sqnr*), the cheapest model that keeps to it is
    sought, half of the cost being bytes and half compute; else the most accurate one that keeps to
    the other budgets. What rounding does to the outputs is measured layer by layer, the front of
    accuracy and cost is computed from that, and a few of its corners are quantized and measured.

    Args:
        model: as for ``quantize``.
        data: calibration samples, likewise.
        max_drop: how far *metric* may fall below the float model's, in its own unit; without a
            metric, the noise of the outputs in percent of the signal (0.5 is 23 dB).
        min_sqnr: least SQNR of every output, dB.
        max_size: of the file: ``"30%"`` of the float model's, ``"1.5MB"``; a number is percent.
        max_macs: ``"PRECISION=PERCENT"``: at most so much of the multiply-accumulates.
        min_macs: the same: at least.
        max_latency: milliseconds of a run; measured on this machine.
        min_speedup: how many times as fast as float; likewise.
        metric: ``metric(run) -> float`` or ``"module:function"``, higher is better. ``run`` takes
            ``{input name: array}`` and gives ``{output name: array}``; the metric brings its own
            labelled samples. It is called for the float model and for each candidate.
        target: as for ``quantize``.
        recipes: recipes to choose from; by default ``fast``, ``balanced`` and, where these leave
            layers in float, ``best``.
        precisions: which of float, 16, 8 and 4 may be chosen; by default all that the target has.
        exclude: nodes to keep in float, as for ``quantize``.
        preprocess: how images become inputs.
        providers: ONNX Runtime execution providers, in order.
        report_data: samples on which candidates are measured, instead of those held out.
        statistics: a file of measured statistics, reused where it fits, else written. Not one of
            ``quantize``: candidates have the opset that weights of 4 bits need.
        journal: a file that keeps each measurement; a later call goes on with it.
        points: corners of the front that are measured for the picture.
        max_seconds: after that time no further candidate begins.
        costs: what predictions of time rest on: ``"target"`` or ``"measured"``, as for
            ``quantize``.
        threads: of a run, for what is measured: costs (default: one thread), and latencies
            (default: all cores).
        jobs: candidates measured at once, in processes of their own; None for one a core, 4 at
            most. A script needs ``if __name__ == "__main__":`` for that.
        seed: for whatever is random.
        progress: told of stages and steps.

    Raises:
        UserError: a name, option, file or sample that cannot be used, or no budget.
        UnsupportedModelError: the model is quantized already, or cannot be run.
    """
    progress = progress or Silent()
    timed = max_latency is not None or min_speedup is not None
    check_threads(threads, used=costs == "measured" or timed)
    setup = Setup(
        model=model, data=data, target=target, report_data=report_data, preprocess=preprocess,
        exclude=tuple(exclude), providers=tuple(providers), metric=metric, seed=seed,
        statistics=None if statistics is None else Path(statistics),
        costs=costs_from(costs, get_target(target), progress, threads), threads=threads,
    )  # fmt: skip
    with _with_statistics(setup, jobs) as setup:
        evaluator = Evaluator(setup, progress)
        budgets = Budgets(
            max_drop=max_drop, min_sqnr=min_sqnr, max_latency=max_latency, min_speedup=min_speedup,
            max_size=None if max_size is None else size(max_size, evaluator.bytes_float),
            max_macs=shares(max_macs, "max_macs"), min_macs=shares(min_macs, "min_macs"),
        )  # fmt: skip
        if not budgets.any:
            raise OptionError(
                "there is nothing to keep to", hint="--max-drop 0.5, or --max-size 20%, for example"
            )
        allowed = _allowed(precisions, evaluator.target)
        notes: list[str] = []
        count, why = jobs_for(1 if budgets.timed else jobs, setup)
        if why:
            notes.append(why)
        path = None if journal is None else Path(journal)
        book = Journal(path, evaluator.digest(), evaluator.recipe)
        if book.found:
            notes.append(f"{book.found} measurements were taken from the journal")
        plan = Plan(
            recipes=tuple(recipes) or RECIPES, spare=() if recipes else SPARE, allowed=allowed,
            budgets=budgets, prices=_prices(budgets), bytes_float=evaluator.bytes_float,
            points=points, width=count, max_seconds=max_seconds,
        )  # fmt: skip
        with Pool(evaluator, setup, count) as pool:
            watch = Stopwatch(evaluator) if budgets.timed else None

            def measure(candidates: Sequence[Candidate]) -> list[Measured]:
                known = {c: m for c in candidates if (m := book.measured(c)) is not None}
                new = [c for c in candidates if c not in known]
                for candidate, found in zip(new, pool.measure(new), strict=True):
                    known[candidate] = found
                    book.keep(candidate, found)
                for candidate, found in list(known.items()):
                    if watch is not None and found.latency_ms is None:
                        known[candidate] = found.timed(*watch.time(candidate))
                        book.keep(candidate, known[candidate])
                return [known[c] for c in candidates]

            def noise_of(candidate: Candidate) -> list[LayerNoise]:
                known = book.noise(candidate)
                if known is None:
                    progress.stage("measuring what each layer does")
                    result = evaluator.trial(candidate)
                    feeds = evaluator.calibration.report_feeds()
                    known = layer_noise(result, feeds, evaluator.providers)
                    book.keep_noise(candidate, known)
                return known

            search = Search(plan, measure, noise_of, progress)
            best = search.run()
        lacks = {
            p: evaluator.target.lacks.get(p, "it was not among the precisions to choose from")
            for p in PRECISIONS
            if p not in allowed
        }
        result = evaluator.make(evaluator.recipe(best), "full")
        ideal = None if evaluator.metric is None else evaluator.ideal
        result.report["tune"] = section(
            search.found, best, budgets, bytes_float=evaluator.bytes_float, ideal=ideal,
            lacks=lacks, notes=notes,
        )  # fmt: skip
        missed = budgets.missed(search.found.measured[best])
        return TuneResult(result, evaluator.recipe(best), missed)


def _allowed(precisions: Sequence[str], target: Target) -> tuple[str, ...]:
    """The precisions to choose from, widest first.

    Raises:
        UnknownNameError, OptionError: there is no such precision, the target lacks it, or 8 bits,
            which everything is compared with, are not among them.
    """
    for precision in precisions:
        if precision not in PRECISIONS:
            raise UnknownNameError("precision", precision, PRECISIONS)
        if precision in target.lacks:
            raise OptionError(
                f"precision {precision} is not possible on {target.name}",
                why=target.lacks[precision],
            )
    if precisions and "8" not in precisions:
        raise OptionError("8 bits have to be among the precisions", hint="--precisions 8,4")
    wanted = precisions or PRECISIONS
    return tuple(p for p in PRECISIONS if p in wanted and p not in target.lacks)


def _prices(budgets: Budgets) -> Prices:
    """What is dear: what there is a budget of, and the other a quarter as much."""
    size = budgets.max_size is not None
    time = budgets.timed or bool(budgets.max_macs) or bool(budgets.min_macs)
    if size == time:
        return Prices()
    return Prices(size=0.8, time=0.2) if size else Prices(size=0.2, time=0.8)


@contextmanager
def _with_statistics(setup: Setup, jobs: int | None) -> Iterator[Setup]:
    """*setup* with a file of statistics, which other processes need."""
    if setup.statistics is not None or jobs == 1:
        yield setup
        return
    with tempfile.TemporaryDirectory(prefix="onnxq-", ignore_cleanup_errors=True) as folder:
        yield replace(setup, statistics=Path(folder) / "statistics.npz")
