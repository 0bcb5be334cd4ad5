"""The part of the report that has the search: the key ``tune``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, log10
from typing import Any

from onnxq.api.tune.budgets import Budgets
from onnxq.api.tune.candidate import Candidate, Measured
from onnxq.api.tune.explain import explain
from onnxq.api.tune.search import Found, chosen_of
from onnxq.report.entries import finite
from onnxq.report.tune.front import front

SCHEMA = "onnxq-tune/1"


def section(
    found: Found,
    best: Candidate,
    budgets: Budgets,
    *,
    bytes_float: int,
    ideal: float | None,
    lacks: Mapping[str, str],
    notes: Sequence[str],
) -> dict[str, Any]:
    """The section: candidates, layers with reasons, and what was asked for.

    *ideal* is the metric of the float model; None without a metric.
    """
    entries = []
    for candidate, measured in found.measured.items():
        entries.append({
            "name": name_of(candidate),
            "recipe": candidate.recipe,
            "precisions": candidate.counts(),
            **_entry(measured, bytes_float),
            "time_predicted": found.time(candidate),
            "meets": not budgets.missed(measured),
            "chosen": candidate == best,
            "front": False,
        })  # fmt: skip
    for index in front(entries):
        entries[index]["front"] = True
    problem, forecast = found.problems[best.recipe], found.forecasts[best.recipe]
    base = found.measured[Candidate(best.recipe)]
    eight = problem.saved({layer.node: "8" for layer in problem.layers})
    predicted = []
    for point in found.points[best.recipe]:
        size = base.bytes + eight - problem.saved(point.chosen)
        noise = forecast.noise(point.noise)
        predicted.append(
            {"sqnr_db": finite(_db(noise)), "size_percent": 100.0 * size / bytes_float}
        )
    return {
        "schema": SCHEMA,
        "budgets": budgets.texts(),
        "missed": budgets.missed(found.measured[best]),
        "limits": _limits(budgets, bytes_float, ideal),
        "drop": "metric" if ideal is not None else "noise in percent of the signal",
        "metric_float": ideal,
        "recipe": best.recipe,
        "candidates": sorted(entries, key=lambda e: (e["bytes"], e["drop"])),
        "predicted": predicted,
        "layers": explain(problem, chosen_of(best, problem), lacks),
        "lacks": dict(lacks),
        "skipped": dict(found.skipped),
        "in_time": found.in_time,
        "notes": list(notes),
    }


def _limits(budgets: Budgets, bytes_float: int, ideal: float | None) -> dict[str, float]:
    """Budgets as lines in the picture."""
    found: dict[str, float] = {}
    if budgets.max_size is not None:
        found["size_percent"] = 100.0 * budgets.max_size / bytes_float
    if budgets.min_sqnr is not None:
        found["sqnr_db"] = budgets.min_sqnr
    if budgets.max_drop is not None and ideal is not None:
        found["metric"] = ideal - budgets.max_drop
    elif budgets.max_drop is not None and budgets.max_drop > 0:
        found["sqnr_db"] = max(found.get("sqnr_db", -inf), _db(budgets.max_drop / 100))
    return found


def name_of(candidate: Candidate) -> str:
    """``balanced, 3 × float, 12 × 4 bit``: the recipe and the layers that are not at 8 bits."""
    words = {"float": "float", "16": "16 bit", "4": "4 bit"}
    counts = candidate.counts()
    return ", ".join(
        [candidate.recipe, *(f"{counts[p]} × {words[p]}" for p in words if p in counts)]
    )


def _entry(found: Measured, bytes_float: int) -> dict[str, Any]:
    return {
        "drop": found.drop,
        "sqnr_db": found.sqnr_db,
        "metric": found.metric,
        "top1_agreement": found.agreement,
        "bytes": found.bytes,
        "size_percent": 100.0 * found.bytes / bytes_float,
        "macs": dict(found.macs),
        "integer_percent": sum(v for p, v in found.macs.items() if p in ("8", "4")),
        "latency_ms": found.latency_ms,
        "speedup": found.speedup,
    }


def _db(noise: float) -> float:
    return -10.0 * log10(noise) if noise > 0 else inf
