"""Which layers lose most, and from what: what every form of the report agrees on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

Layer = Mapping[str, Any]


def ranking_key(layers: Sequence[Layer]) -> str:
    """What layers are ranked by: the error of each alone, else the error up to there."""
    key = "isolated_sqnr_db"
    return key if any(layer.get(key) is not None for layer in layers) else "cumulative_sqnr_db"


def ranked(layers: Sequence[Layer], key: str) -> list[Layer]:
    """Layers of which *key* was measured, worst (lowest) first; equal ones in their order."""
    measured = [layer for layer in layers if layer.get(key) is not None]
    return sorted(measured, key=lambda layer: float(layer[key]))


def shares(layer: Layer) -> dict[str, float]:
    """Fractions of the layer's noise by where it comes from; they sum to 1; empty if unknown."""
    found = layer.get("share")
    if not isinstance(found, Mapping):
        return {}
    known = {k: float(v) for k, v in found.items() if v is not None and isfinite(float(v))}
    total = sum(known.values())
    return {k: v / total for k, v in known.items()} if total > 0 else {}


def blame(layer: Layer) -> tuple[str, float] | None:
    """The largest part of the layer's noise and its fraction, such as ``("weights", 0.71)``."""
    found = shares(layer)
    if not found:
        return None
    name = max(found, key=lambda k: found[k])
    return name, found[name]


def reasons(kept: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Nodes that stayed float by the reason, the most frequent first.

    The reason does not repeat the operator, which stands beside each node.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in kept:
        reason = str(row.get("reason") or "no reason given")
        groups.setdefault(reason.replace(f" for {row.get('op_type')}", "", 1), []).append(row)
    return sorted(groups.items(), key=lambda item: -len(item[1]))
