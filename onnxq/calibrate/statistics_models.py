"""Statistics of several models in one: of a model, and of what passes made of it meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnxq.calibrate.observer import AnyObserver
from onnxq.calibrate.statistics import Statistics

_BETWEEN = "\0"
"""Between a digest and the name of a tensor; no name in a file holds it."""


def join_models(models: Mapping[str, Statistics]) -> Statistics:
    """One table of all *models*, by digest; the digest "" stands for the first model."""
    states: dict[str, Mapping[AnyObserver, Any]] = {}
    nonfinite: dict[str, int] = {}
    for digest, statistics in models.items():
        prefix = digest + _BETWEEN if digest else ""
        states |= {prefix + name: found for name, found in statistics.states.items()}
        nonfinite |= {prefix + name: count for name, count in statistics.nonfinite.items()}
    samples = max((s.samples for s in models.values()), default=0)
    return Statistics(states, samples, nonfinite)


def split_models(together: Statistics) -> dict[str, Statistics]:
    """Inverse of ``join_models``, by digest."""
    states: dict[str, dict[str, Mapping[AnyObserver, Any]]] = {"": {}}
    nonfinite: dict[str, dict[str, int]] = {}
    for name, found in together.states.items():
        digest, _, tensor = name.rpartition(_BETWEEN)
        states.setdefault(digest, {})[tensor] = found
    for name, count in together.nonfinite.items():
        digest, _, tensor = name.rpartition(_BETWEEN)
        nonfinite.setdefault(digest, {})[tensor] = count
    return {d: Statistics(s, together.samples, nonfinite.get(d, {})) for d, s in states.items()}
