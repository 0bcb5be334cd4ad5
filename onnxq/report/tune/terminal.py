"""The search for precisions in the terminal: the front as a table and a plot, and the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onnxq.report.tune.axes import mark, whole
from onnxq.report.tune.plot import SIGNS, plot
from onnxq.report.units import bytes_text, db_text, middle, percent, tone

#: Layers and beaten candidates that are shown.
LAYERS, BEATEN = 12, 4


def render(tune: Mapping[str, Any], console: Console) -> None:
    """Write *tune*, of the schema ``onnxq-tune/1``, to *console*."""
    console.print(Padding(candidates(tune), (1, 0, 0, 0)))
    if len(tune["candidates"]) > 2:
        console.print(Padding(plot(tune, min(console.width, 78)), (1, 0, 0, 0)))
    console.print(Padding(layers(tune["layers"], console.width), (1, 0, 0, 0)))
    for text in notes(tune):
        console.print(text)


def candidates(tune: Mapping[str, Any]) -> RenderableType:
    """The measured candidates: the front, and some of those that it beats."""
    head = Text.assemble(("Candidates", "bold"), "  ", (", ".join(tune["budgets"]), "dim"))
    by_metric = tune.get("metric_float") is not None
    timed = any(c["speedup"] is not None for c in tune["candidates"])
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("made as", no_wrap=True)
    titles = ["size", "of float", "SQNR dB", *(["metric"] if by_metric else []), "drop"]
    titles += ["integer", *(["speed"] if timed else [])]
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    beaten = 0
    for c in tune["candidates"]:
        if not c["front"] and not c["chosen"]:
            beaten += 1
            if beaten > BEATEN:
                continue
        name = Text(middle(c["name"], 34), style="bold" if c["chosen"] else "")
        sign = Text(*SIGNS[mark(c), whole(c)]) if mark(c) != "beaten" else Text()
        row: list[Text | str] = [sign, name, bytes_text(c["bytes"]), percent(c["size_percent"])]
        row.append(Text(db_text(c["sqnr_db"]), style=tone(c["sqnr_db"])))
        if by_metric:
            row.append(f"{c['metric']:.4g}")
        row.append(Text(_drop(c["drop"]), style="green" if c["meets"] else "red"))
        row.append(percent(c["integer_percent"]))
        if timed:
            row.append("–" if c["speedup"] is None else f"{c['speedup']:.2f} ×")
        table.add_row(*row)
    rest = []
    if beaten > BEATEN:
        rest = [Text(f"… and {beaten - BEATEN} more that others beat", style="dim")]
    return Group(head, table, *rest)


def layers(entries: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    """The layers that make most of the noise left, and why they have their precision."""
    head = Text.assemble(("Layers", "bold"), "  by the noise that they make at the outputs")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("layer", no_wrap=True)
    for title in ("bits", "noise", "size"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for e in entries[:LAYERS]:
        table.add_row(
            Text(middle(e["node"], 28 if width < 110 else 44)),
            Text(e["precision"], style=_STYLES[e["precision"]]),
            percent(e["noise_percent"]),
            bytes_text(e["bytes"]) if e["bytes_float"] else "–",
            Text(e["reason"].partition(": ")[2] or e["reason"], style="dim"),
        )
    counts: dict[str, int] = {}
    for e in entries:
        counts[e["precision"]] = counts.get(e["precision"], 0) + 1
    words = {"float": "in float", "16": "at 16 bits", "8": "at 8 bits", "4": "at 4 bits"}
    text = ", ".join(f"{counts[p]} {words[p]}" for p in words if p in counts)
    more = f"{text}; all with reasons: --report" if len(entries) > LAYERS else text
    return Group(head, table, Text(more, style="dim"))


def notes(tune: Mapping[str, Any]) -> list[Text]:
    """What is worth knowing of the search."""
    found = [Text(f"note    {p} bits were not offered: {why}" if p.isdigit() else
                  f"note    {p} was not offered: {why}", style="dim")
             for p, why in tune["lacks"].items()]  # fmt: skip
    found += [
        Text(f"note    recipe '{r}' was not tried: {w}", "dim") for r, w in tune["skipped"].items()
    ]
    found += [Text(f"note    {text}", style="dim") for text in tune["notes"]]
    if not tune["in_time"]:
        found.append(Text("note    the time was used up: the same command goes on", style="yellow"))
    return found


_STYLES = {"float": "yellow", "16": "yellow", "8": "", "4": "green"}


def _drop(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
