"""The front as SVG: for the page, and as a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from onnxq.report.tune.axes import Picture, mark, picture, whole
from onnxq.report.units import bytes_text, db_text, percent

WIDTH, HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 20, 30, 46

_COLOURS = """
.front-plot { --ink: #1d1c1a; --dim: #6b6862; --line: #e2dfd8; --alone: #b4552d; --total: #3c6e8f;
  --paper: #fbfaf8; --sans: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
@media (prefers-color-scheme: dark) { .front-plot { --ink: #eceae4; --dim: #9c988f; --line: #33322e;
  --alone: #e08a5f; --total: #7fb2d3; --paper: #161614; } }
"""
RULES = """
.front-plot { font: 12px var(--sans); } .front-plot .back { fill: var(--paper); }
.front-plot text { fill: var(--dim); } .front-plot .name { fill: var(--ink); font-weight: 600; }
.front-plot .grid { stroke: var(--line); }
.front-plot .curve { fill: none; stroke: var(--total); stroke-width: 1.5; opacity: .45; }
.front-plot .limit { stroke: var(--alone); stroke-dasharray: 5 4; }
.front-plot .limit-text { fill: var(--alone); } .front-plot .dot { stroke-width: 2; }
.front-plot .front { stroke: var(--total); fill: var(--total); }
.front-plot .beaten { stroke: var(--dim); fill: var(--dim); opacity: .55; }
.front-plot .chosen { stroke: var(--alone); fill: var(--alone); }
.front-plot .part { fill: var(--paper); opacity: 1; }
"""
"""Styles of the picture, in the colours of the page."""


def to_svg(tune: Mapping[str, Any], *, alone: bool = True) -> str:
    """The picture of *tune*, of the schema ``onnxq-tune/1``.

    *alone*: with styles, as a file; else as a part of the page, which has them.
    """
    shown = picture(tune)
    place = _Place(shown)
    parts = [
        f'<svg class="front-plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'xmlns="http://www.w3.org/2000/svg" '
        'aria-label="Size and accuracy of the candidates; the table has the values">'
    ]
    if alone:
        parts.append(f"<style>{_COLOURS}{RULES}</style>")
        parts.append(f'<rect class="back" width="{WIDTH}" height="{HEIGHT}"/>')
    parts += place.grid()
    parts += place.limits()
    if len(shown.curve) > 1:
        line = " ".join(f"{place.x(a):.1f},{place.y(b):.1f}" for a, b in shown.curve)
        parts.append(f'<polyline class="curve" points="{line}"/>')
    order = {"beaten": 0, "front": 1, "chosen": 2}
    for a, b, candidate in sorted(shown.candidates, key=lambda c: order[mark(c[2])]):
        kind = mark(candidate)
        part = "" if whole(candidate) else " part"
        radius = 7 if kind == "chosen" else 5 if kind == "front" else 3.5
        parts.append(
            f'<circle class="dot {kind}{part}" cx="{place.x(a):.1f}" cy="{place.y(b):.1f}" '
            f'r="{radius}"><title>{escape(_title(candidate))}</title></circle>'
        )
        if kind == "chosen":
            parts.append(place.label(a, b, str(candidate["name"])))
    parts.append("</svg>")
    return "\n".join(parts) + ("\n" if alone else "")


class _Place:
    """Where values lie in the picture."""

    def __init__(self, shown: Picture) -> None:
        self.shown = shown

    def x(self, value: float) -> float:
        return _LEFT + self.shown.x.part(value) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - self.shown.y.part(value) * (HEIGHT - _TOP - _BOTTOM)

    def grid(self) -> list[str]:
        """Lines at round numbers, and what they are."""
        right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
        found = []
        for tick in self.shown.y.ticks:
            y = self.y(tick)
            found.append(
                f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
            )
        for tick in self.shown.x.ticks:
            x = self.x(tick)
            found.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>'
                f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g} %</text>'
            )
        found.append(f'<text x="{_LEFT - 8}" y="16" text-anchor="start">{self.shown.title}</text>')
        found.append(
            f'<text x="{right}" y="{HEIGHT - 8}" text-anchor="end">size, of the float model</text>'
        )
        return found

    def limits(self) -> list[str]:
        """Budgets as dashed lines."""
        found = []
        right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
        if self.shown.limit_y is not None:
            y = self.y(self.shown.limit_y)
            found.append(
                f'<line class="limit" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text class="limit-text" x="{right}" y="{y + 14:.1f}" text-anchor="end">'
                "at least</text>"
            )
        if self.shown.limit_x is not None:
            x = self.x(self.shown.limit_x)
            found.append(
                f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>'
                f'<text class="limit-text" x="{x - 6:.1f}" y="{_TOP + 12}" text-anchor="end">'
                "at most</text>"
            )
        return found

    def label(self, a: float, b: float, name: str) -> str:
        """The *name* of the point, beside the front, which rises to the right."""
        x, y = self.x(a), self.y(b)
        anchor, right, down = ("end", -12, -10) if x > WIDTH / 2 else ("start", 12, 22)
        return (
            f'<text class="name" x="{x + right:.1f}" y="{y + down:.1f}" text-anchor="{anchor}">'
            f"{escape(name)}</text>"
        )


def _title(candidate: Mapping[str, Any]) -> str:
    """What a point says when it is pointed at."""
    facts = [
        str(candidate["name"]), f"{db_text(candidate['sqnr_db'])} dB",
        f"{bytes_text(candidate['bytes'])}, {percent(candidate['size_percent'])} of float",
        f"{percent(candidate['integer_percent'])} in integers",
    ]  # fmt: skip
    return " · ".join(facts)
