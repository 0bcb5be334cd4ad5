"""Hold ``results.json`` against the goals: ``python tests/bench/goals.py``.

A goal holds for one file written by one command. The exit code is 1 where one is missed; what was
not measured is not judged.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
Rows = Mapping[str, Mapping[str, Any]]
"""Rows of one network by setting."""

DEFAULT, PEER, ENTROPY = (
    "S8S8 per tensor (its default)", "U8S8 per channel, reduced range", "the same, entropy",
)  # fmt: skip
SQNR = {"squeezenet1.1": 30.0, "mobilenetv2": 13.5, "cifar_resnet20": 25.6}
SIZE = {"squeezenet1.1": 0.28, "mobilenetv2": 0.28, "cifar_resnet20": 0.30}


@dataclass(frozen=True)
class Goal:
    """A limit that a measured value must reach (*least*) or must not exceed."""

    what: str
    limit: float
    value: float
    least: bool

    @property
    def reached(self) -> bool:
        return self.value >= self.limit if self.least else self.value <= self.limit


def goals(networks: Mapping[str, Any], memory: list[dict[str, Any]]) -> Iterator[Goal]:
    """All goals of which something was measured."""
    for name, network in networks.items():
        rows = {row["setting"]: row for row in network["rows"]}
        ours = rows["balanced"]
        if "error" in ours:
            yield Goal(f"{name}: goes through ({ours['error']})", 1, 0, least=True)
            continue
        decibels = math.inf if ours["sqnr_db"] is None else ours["sqnr_db"]
        yield Goal(f"{name}: SQNR dB", SQNR.get(name, 5.0), decibels, least=True)
        if name in SIZE:
            yield from conv_networks(name, rows)
        if name == "yolox_nano":
            yield Goal(f"{name}: AP50", network["float"] - 1, ours["metric"], least=True)
    for recipe in sorted({row["recipe"] for row in memory}):
        peaks = {r["samples"]: r["peak_mb"] for r in memory if r["recipe"] == recipe}
        growth = peaks[max(peaks)] / peaks[min(peaks)]
        yield Goal(f"{recipe}: memory at {max(peaks)} samples", 1.1, growth, least=False)


def conv_networks(name: str, rows: Rows) -> Iterator[Goal]:
    """Size, speed, kernels, time and memory of the three convolutional classifiers."""
    ours, peer, entropy = rows["balanced"], rows[PEER], rows[ENTROPY]
    histogram = rows["fast, entropy"]
    yield Goal(f"{name}: size", SIZE[name], ours["size"], least=False)
    yield Goal(f"{name}: heavy operators in float", 0, ours["kernels"]["float"], least=False)
    yield Goal(f"{name}: speed against float", 1.0, ours["speed"], least=True)
    yield Goal(f"{name}: speed against onnxruntime", peer["speed"], ours["speed"], least=True)
    fast = rows["fast"]["seconds"]
    yield Goal(f"{name}: fast, seconds against MinMax", peer["seconds"], fast, least=False)
    tenth: list[tuple[str, Callable[[Mapping[str, Any]], float]]] = [
        ("seconds", lambda row: row["seconds"]), ("peak MB", lambda row: row["peak_mb"]),
    ]  # fmt: skip
    for what, get in tenth:
        yield Goal(
            f"{name}: {what}, a tenth of entropy", get(entropy) / 10, get(histogram), least=False
        )


def main() -> int:
    result = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    found = list(goals(result["networks"], result["memory"]))
    for goal in found:
        sign = ">=" if goal.least else "<="
        mark = "reached" if goal.reached else "MISSED "
        print(f"{mark}  {goal.what:55} {goal.value:9.3f}  {sign} {goal.limit:.3f}")
    return int(not all(goal.reached for goal in found))


if __name__ == "__main__":
    sys.exit(main())
