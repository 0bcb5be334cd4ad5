"""Which candidates no other beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def front(candidates: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indices of the *candidates* that no other beats in size, speed and accuracy together.

    Speed is the measured latency where all have one, else the part of the compute in integers. Of
    equal ones the first is kept.
    """
    timed = all(c.get("latency_ms") is not None for c in candidates)

    def values(c: Mapping[str, Any]) -> tuple[float, float, float]:
        slow = float(c["latency_ms"]) if timed else -round(float(c["integer_percent"]), 3)
        return float(c["bytes"]), slow, float(c["drop"])

    known = [values(c) for c in candidates]
    found = []
    for i, mine in enumerate(known):
        beaten = any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and (other != mine or j < i)
            for j, other in enumerate(known)
            if j != i
        )
        if not beaten:
            found.append(i)
    return found
