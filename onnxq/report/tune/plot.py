"""The front as characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from onnxq.report.tune.axes import mark, picture, whole

#: By what a candidate is, and whether all of its compute is in integers: sign and style.
SIGNS = {
    ("chosen", True): ("◆", "bold green"),
    ("chosen", False): ("◇", "bold green"),
    ("front", True): ("●", "cyan"),
    ("front", False): ("○", "cyan"),
    ("beaten", True): ("•", "dim"),
    ("beaten", False): ("◦", "dim"),
}


def plot(tune: Mapping[str, Any], width: int = 64, height: int = 14) -> Text:
    """Size from left to right, accuracy upwards; *width* and *height* in characters."""
    shown = picture(tune)
    left = max(len(f"{tick:g}") for tick in shown.y.ticks or (0.0,)) + 1
    columns = max(width - left - 2, 10)
    cells: dict[tuple[int, int], tuple[str, str]] = {}

    def column(value: float) -> int:
        return min(max(round(shown.x.part(value) * (columns - 1)), 0), columns - 1)

    def row(value: float) -> int:
        return min(max(round((1 - shown.y.part(value)) * (height - 1)), 0), height - 1)

    for a, b in shown.curve:
        cells[row(b), column(a)] = ("·", "dim cyan")
    if shown.limit_y is not None:
        for c in range(columns):
            cells[row(shown.limit_y), c] = ("╌", "dim red")
    if shown.limit_x is not None:
        for r in range(height):
            cells[r, column(shown.limit_x)] = ("╎", "dim red")
    order = {"beaten": 0, "front": 1, "chosen": 2}
    for a, b, candidate in sorted(shown.candidates, key=lambda c: order[mark(c[2])]):
        cells[row(b), column(a)] = SIGNS[mark(candidate), whole(candidate)]
    ticks_y = {row(t): f"{t:g}" for t in shown.y.ticks}
    text = Text(f"{shown.title}\n", style="dim")
    for r in range(height):
        text.append(f"{ticks_y.get(r, ''):>{left}}", style="dim")
        text.append(" ┤" if r in ticks_y else " │", style="dim")
        for c in range(columns):
            sign, style = cells.get((r, c), (" ", ""))
            text.append(sign, style=style or None)
        text.append("\n")
    text.append(" " * (left + 1) + "└" + "─" * columns + "\n", style="dim")
    line = [" "] * (columns + 8)
    for tick in shown.x.ticks:
        label, start = f"{tick:g} %", column(tick)
        begin = min(max(start - 1, 0), len(line) - len(label))
        if "".join(line[max(begin - 1, 0) : begin + len(label) + 1]).strip() == "":
            line[begin : begin + len(label)] = label
    text.append(" " * (left + 2) + "".join(line).rstrip() + "\n", style="dim")
    text.append(" " * (left + 2) + "size, of the float model   ", style="dim")
    text.append_text(_legend())
    return text


def _legend() -> Text:
    text = Text()
    for key, what in ((("chosen", True), "chosen"), (("front", True), "front"),
                      (("front", False), "partly in float")):  # fmt: skip
        sign, style = SIGNS[key]
        text.append(sign, style=style)
        text.append(f" {what}   ", style="dim")
    return text
