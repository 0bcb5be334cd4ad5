"""Two axes and what is drawn between them: for the terminal and for SVG alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxq.report.units import EXACT_DB


@dataclass(frozen=True)
class Axis:
    """A range with round numbers.

    Attributes:
        low, high: its ends.
        ticks: round numbers in it.
    """

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Iterable[float], count: int = 5) -> Axis:
        """An axis over *values*, with about *count* ticks."""
        found = list(values)
        low, high = min(found, default=0.0), max(found, default=1.0)
        spread = (high - low) or max(abs(high), 1.0)
        low, high = low - 0.05 * spread, high + 0.05 * spread
        rough = (high - low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
        first = math.ceil(low / step)
        last = math.floor(high / step)
        return cls(low, high, tuple(round(i * step, 10) for i in range(first, last + 1)))

    def part(self, value: float) -> float:
        """Where *value* lies: 0 at the low end, 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Picture:
    """Size against accuracy.

    Attributes:
        x, y: the axes.
        title: of the vertical axis.
        candidates: those that are shown, with their places.
        curve: the predicted front, as places.
        limit_x, limit_y: budgets; None without.
    """

    x: Axis
    y: Axis
    title: str
    candidates: tuple[tuple[float, float, Mapping[str, Any]], ...]
    curve: tuple[tuple[float, float], ...]
    limit_x: float | None
    limit_y: float | None


def picture(tune: Mapping[str, Any]) -> Picture:
    """The picture of *tune*, of the schema ``onnxq-tune/1``; exact candidates are not in it."""
    by_metric = tune.get("metric_float") is not None
    key = "metric" if by_metric else "sqnr_db"
    shown = [
        (float(c["size_percent"]), float(c[key]), c)
        for c in tune["candidates"]
        if c[key] is not None and (by_metric or c["sqnr_db"] < EXACT_DB)
    ]
    limits = tune.get("limits") or {}
    xs = [x for x, _, _ in shown] + [v for k, v in limits.items() if k == "size_percent"]
    ys = [y for _, y, _ in shown] + [v for k, v in limits.items() if k == key]
    x, y = Axis.over(xs), Axis.over(ys)
    curve: Sequence[tuple[float, float]] = ()
    if not by_metric:
        predicted = ((p["size_percent"], p["sqnr_db"]) for p in tune["predicted"])
        curve = [
            (a, b) for a, b in predicted
            if b is not None and x.low <= a <= x.high and y.low <= b <= y.high
        ]  # fmt: skip
    return Picture(
        x, y, "metric" if by_metric else "SQNR, dB", tuple(shown), tuple(sorted(curve)),
        limits.get("size_percent"), limits.get(key),
    )  # fmt: skip


def mark(candidate: Mapping[str, Any]) -> str:
    """What a candidate is shown as: chosen, front, or beaten."""
    if candidate["chosen"]:
        return "chosen"
    return "front" if candidate["front"] else "beaten"


def whole(candidate: Mapping[str, Any]) -> bool:
    """Whether all of its compute is in integers, up to a percent."""
    return float(candidate["integer_percent"]) >= 99.0
