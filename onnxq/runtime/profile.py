"""What each node of the graph that really runs takes, from ONNX Runtime's own profile."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Feed, Session, Source

_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class NodeTime:
    """A node of the optimized graph.

    Attributes:
        node: its name.
        operator: what runs.
        seconds: mean time of a run.
    """

    node: str
    operator: str
    seconds: float


@dataclass(frozen=True)
class Runs:
    """What a node of the optimized graph took, run by run.

    Attributes:
        seconds: of each run.
        elements: of its first output; 0 where that is not known.
    """

    seconds: list[float]
    elements: int


def profile(
    model: Source,
    feeds: Sequence[Feed],
    *,
    runs: int = 20,
    warm_up: int = 3,
    threads: int | None = None,
    providers: Sequence[Provider] = (),
) -> list[NodeTime]:
    """Mean times of the nodes of *model* over *runs* on *feeds* in turn, the slowest first.

    Profiling costs time itself, mostly for nodes that take little.

    Raises:
        UnsupportedModelError, DataError: ONNX Runtime cannot load the model, or run it.
    """
    sums = durations(model, feeds, runs=runs, warm_up=warm_up, threads=threads, providers=providers)
    found = [NodeTime(node, op, sum(s.seconds) / runs) for (node, op), s in sums.items()]
    return sorted(found, key=lambda n: -n.seconds)


def durations(
    model: Source,
    feeds: Sequence[Feed],
    *,
    runs: int = 20,
    warm_up: int = 3,
    threads: int | None = None,
    providers: Sequence[Provider] = (),
) -> dict[tuple[str, str], Runs]:
    """As ``profile``: by name and operator, every run."""
    with tempfile.TemporaryDirectory() as folder:
        session = Session(model, providers, threads, spin=True, profile=Path(folder) / "profile")
        for i in range(warm_up + runs):
            session.seconds(feeds[i % len(feeds)])
        events = json.loads(session.end_profile().read_text(encoding="utf-8"))
    starts = sorted(e["ts"] for e in events if e.get("name") == "model_run")
    first = starts[warm_up] if len(starts) > warm_up else 0
    found: dict[tuple[str, str], Runs] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith(_SUFFIX):
            continue
        if event["ts"] >= first:
            key = event["name"].removesuffix(_SUFFIX), event["args"].get("op_name", "")
            found.setdefault(key, Runs([], _elements(event["args"]))).seconds.append(
                event["dur"] * 1e-6
            )
    return found


def _elements(arguments: Mapping[str, Any]) -> int:
    """Elements of the first output, as a profile's event states its shape."""
    shapes = [shape for one in arguments.get("output_type_shape", []) for shape in one.values()]
    return prod(shapes[0]) if shapes else 0
