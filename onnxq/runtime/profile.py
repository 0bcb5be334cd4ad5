"""What each node of the graph that really runs takes, from ONNX Runtime's own profile."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    with tempfile.TemporaryDirectory() as folder:
        session = Session(model, providers, threads, spin=True, profile=Path(folder) / "profile")
        for i in range(warm_up + runs):
            session.seconds(feeds[i % len(feeds)])
        events = json.loads(session.end_profile().read_text(encoding="utf-8"))
    starts = sorted(e["ts"] for e in events if e.get("name") == "model_run")
    first = starts[warm_up] if len(starts) > warm_up else 0
    sums: dict[tuple[str, str], float] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith(_SUFFIX):
            continue
        if event["ts"] >= first:
            key = event["name"].removesuffix(_SUFFIX), event["args"].get("op_name", "")
            sums[key] = sums.get(key, 0.0) + event["dur"] * 1e-6
    found = [NodeTime(node, operator, total / runs) for (node, operator), total in sums.items()]
    return sorted(found, key=lambda n: -n.seconds)
