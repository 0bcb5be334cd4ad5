"""Why each layer has its precision: what the next narrower and wider one would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnxq.api.tune.problem import BITS, FLOATS, Layer, Problem
from onnxq.report.units import bytes_text
from onnxq.targets import PRECISIONS

_WHY = {
    "float": "in integers it costs the outputs most for what it saves",
    "16": "in integers it costs the outputs most for what it saves; 16 bits lose next to nothing",
    "8": "8 bits are worth their bytes",
    "4": "4 bits cost the outputs little for what they save",
}


def explain(
    problem: Problem, chosen: Mapping[str, str], lacks: Mapping[str, str]
) -> list[dict[str, Any]]:
    """An entry for each layer of *problem* with the precisions *chosen*; worst share first.

    *lacks* has, by precision, why the target does not have it.
    """
    total = problem.noise(chosen)
    entries: list[dict[str, Any]] = []
    for layer in problem.layers:
        precision = chosen[layer.node]
        steps = [_step(problem, layer, chosen, other, total) for other in _others(layer, precision)]
        # what would be gone in float; of a layer that cannot be, that of its weights
        wide = _widest(layer)
        gone = total - problem.noise({**chosen, layer.node: wide})
        own = gone if wide in FLOATS else layer.noise[precision]
        reason = _WHY[precision] if len(layer.noise) > 1 else _only(precision, lacks)
        if steps:
            reason += ": " + "; ".join(_text(step) for step in steps)
        entries.append({
            "node": layer.node,
            "precision": precision,
            "macs": layer.macs,
            "bytes": layer.bytes * BITS[precision] / 32,
            "bytes_float": layer.bytes,
            "noise_percent": 100.0 * own / total if total else 0.0,
            "alternatives": steps,
            "reason": reason,
        })  # fmt: skip
    entries.sort(key=lambda e: (-float(e["noise_percent"]), str(e["node"])))
    return entries


def _others(layer: Layer, precision: str) -> list[str]:
    """The next narrower and the next wider precision that *layer* may have."""
    order = [p for p in PRECISIONS if p in layer.noise]
    place = order.index(precision)
    return [*order[place + 1 : place + 2], *order[max(place - 1, 0) : place]]


def _widest(layer: Layer) -> str:
    return next(p for p in PRECISIONS if p in layer.noise)


def _step(
    problem: Problem, layer: Layer, chosen: Mapping[str, str], other: str, total: float
) -> dict[str, Any]:
    """What giving *layer* the precision *other* would change."""
    changed = {**chosen, layer.node: other}
    noise = problem.noise(changed)
    return {
        "precision": other,
        "noise_percent": 100.0 * (noise - total) / total if total else None,
        "bytes": layer.bytes * (BITS[other] - BITS[chosen[layer.node]]) / 32,
    }


def _text(step: Mapping[str, Any]) -> str:
    where = "in float" if step["precision"] in FLOATS[:1] else f"at {step['precision']} bits"
    parts = []
    if step["noise_percent"] is not None:
        parts.append(f"noise {_signed(step['noise_percent'])} %")
    if step["bytes"]:
        sign = "+" if step["bytes"] > 0 else "−"
        parts.append(f"size {sign}{bytes_text(abs(step['bytes']))}")
    return f"{where} {', '.join(parts)}"


def _signed(value: float) -> str:
    digits = 0 if abs(value) >= 10 else 1 if abs(value) >= 0.1 else 2
    text = f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 else f"+{text}"


def _only(precision: str, lacks: Mapping[str, str]) -> str:
    reason = next(iter(lacks.values()), "")
    return f"the only precision that it can have{': ' + reason if reason else ''}"
