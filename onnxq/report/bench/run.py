"""Latency of a float model and of others made of it, measured in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

from onnxq.errors import ConditionError, OnnxqError, OptionError
from onnxq.graph import Model
from onnxq.report.bench.operators import OperatorTime, side_by_side, why_slower
from onnxq.report.bench.rounds import take_turns
from onnxq.report.bench.statistics import latency, speedup
from onnxq.report.boundary import boundary_of, taken
from onnxq.runtime.profile import NodeTime, profile
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session
from onnxq.threads import cores

Feed = Mapping[str, NDArray[Any]]
SCHEMA = "onnxq-bench/1"


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: rounds; None: as many as *seconds* allow.
        seconds: about, for all models together.
        warm_up: rounds that are not counted.
        profile_runs: runs of each model for its profile; 0 for none.
        clock: what tells the time.

    Raises:
        OptionError: nothing would be measured.
    """

    rounds: int | None = None
    seconds: float = 10.0
    warm_up: int = 10
    profile_runs: int = 20
    clock: Callable[[], float] = perf_counter

    def __post_init__(self) -> None:
        if self.rounds is not None and self.rounds < 1:
            raise OptionError(f"--rounds {self.rounds}: one at least")


def bench(
    models: Mapping[str, Model],
    feeds: Sequence[Feed],
    *,
    batch: int = 1,
    threads: int | None = None,
    providers: Sequence[Provider] = (),
    effort: Effort | None = None,
) -> dict[str, Any]:
    """Time *models* (by name, the float one first) on *feeds*, taking turns.

    Args:
        models: they take the same inputs; those that want codes get them (see ``io-dtype``).
        feeds: what they run on, a feed a round, in turn.
        batch: samples in a feed, for the throughput.
        threads: threads within an operator; None leaves it to ONNX Runtime: all cores.
        providers: execution providers, in order.
        effort: how long to measure.

    Returns:
        A dictionary for JSON of the schema ``onnxq-bench/1``.

    Raises:
        UnsupportedModelError, DataError: ONNX Runtime cannot load a model, or run it; names it.
    """
    effort = effort or Effort()
    own: dict[str, list[Feed]] = {}
    sessions: dict[str, Session] = {}
    for name, model in models.items():
        with _naming(name):
            sessions[name] = Session(model, providers, threads, spin=True)
            own[name] = _feeds(model, sessions[name], feeds)
            sessions[name].seconds(own[name][0])
    runs = [_run(sessions[name], own[name]) for name in models]
    times = take_turns(
        runs, rounds=effort.rounds, seconds=effort.seconds, warm_up=effort.warm_up,
        clock=effort.clock,
    )  # fmt: skip
    del runs, sessions  # their threads would meet the profile's
    profiles = {
        name: profile(
            model, own[name], runs=effort.profile_runs, threads=threads, providers=providers
        )
        for name, model in models.items()
        if effort.profile_runs
    }
    first = next(iter(models))
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "threads": threads,
        "cores": cores(),
        "batch": batch,
        "rounds": len(times),
        "warm_up": effort.warm_up,
        "models": [],
        "warnings": [],
    }
    for index, name in enumerate(models):
        entry: dict[str, Any] = {"name": name, **latency(times[:, index], batch)}
        entry["nodes"] = [_node(n) for n in profiles.get(name, [])[:20]]
        if index:
            ratio = speedup(times[:, 0], times[:, index])
            rows = side_by_side(profiles.get(first, []), profiles.get(name, []))
            entry["speedup"] = asdict(ratio)
            entry["operators"] = [asdict(r) for r in rows]
            if ratio.high < 1:
                found["warnings"].append(
                    f"'{name}' is SLOWER than '{first}': {ratio.median:.2f} times as fast "
                    f"(95 % between {ratio.low:.2f} and {ratio.high:.2f})"
                    + (f"; more time goes to {why}" if (why := why_slower(rows)) else "")
                )
        found["models"].append(entry)
    return found


def demand(found: Mapping[str, Any], ratio: float) -> None:
    """Hold every model but the first of *found* against what is required.

    Raises:
        ConditionError: one is not *ratio* times as fast as the first, at the median.
    """
    for entry in found["models"][1:]:
        speed = entry["speedup"]
        if speed["median"] < ratio:
            rows = [OperatorTime(**row) for row in entry["operators"]]
            raise ConditionError(
                f"'{entry['name']}' is {speed['median']:.2f} times as fast as float, below the "
                f"{ratio:g} required (95 % between {speed['low']:.2f} and {speed['high']:.2f})",
                why=f"more time goes to {why}" if (why := why_slower(rows)) else "",
                hint="'onnxq check' says what does not run on integers",
            )


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the *name* of a model before the errors that it makes."""
    try:
        yield
    except OnnxqError as error:
        error.message = f"'{name}': {error.message}"
        raise


def _feeds(model: Model, session: Session, feeds: Sequence[Feed]) -> list[Feed]:
    """*feeds* as *model* takes them."""
    inputs, boundary = session.inputs, boundary_of(model)
    missing = [i.name for i in inputs if any(i.name not in f for f in feeds)]
    if missing:
        raise OptionError(
            f"its input '{missing[0]}' is not among the data",
            why="the models must take the same inputs: " + ", ".join(feeds[0]),
        )
    return [taken(feed, inputs, boundary) for feed in feeds]


def _run(session: Session, feeds: Sequence[Feed]) -> Callable[[int], float]:
    return lambda index: session.seconds(feeds[index % len(feeds)])


def _node(node: NodeTime) -> dict[str, Any]:
    return {"node": node.node, "operator": node.operator, "ms": 1e3 * node.seconds}
