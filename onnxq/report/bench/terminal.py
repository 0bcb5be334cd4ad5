"""A measurement of latency in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onnxq.report.units import count_text, middle

#: Operators that are shown.
MOST = 8


def render(found: Mapping[str, Any], console: Console, *, profiles: bool = True) -> None:
    """Write *found*, of the schema ``onnxq-bench/1``, to *console*; with *profiles* or without."""
    console.print(Text(setting(found), style="dim"))
    console.print(Padding(models(found["models"]), (1, 0, 0, 0)))
    for entry in found["models"][1:]:
        if profiles and entry.get("operators"):
            first = found["models"][0]["name"]
            console.print(Padding(operators(first, entry), (1, 0, 0, 0)))
    for text in found["warnings"]:
        console.print(Padding(Text.assemble(("warning ", "bold yellow"), text), (1, 0, 0, 0)))


def setting(found: Mapping[str, Any]) -> str:
    """How it was measured, on a line."""
    threads = found["threads"]
    used = f"all {found['cores']} cores" if threads is None else _count(threads, "thread")
    return f"{_count(found['rounds'], 'round')}, batch {found['batch']}, {used}, models in turn"


def models(entries: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Latencies and speeds."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("model", "p50 ms", "p95 ms", "p99 ms", "a second", "speed"):
        table.add_column(title, justify="left" if title == "model" else "right", no_wrap=True)
    for entry in entries:
        times = (three(entry[key]) for key in ("p50_ms", "p95_ms", "p99_ms"))
        each = count_text(entry["throughput_per_s"])
        name = Text(middle(entry["name"], 22), style="bold")
        table.add_row(name, *times, each, speed_text(entry.get("speedup")))
    return table


def speed_text(ratio: Mapping[str, float] | None) -> Text:
    """``1.64 × (1.62 … 1.66)``: how many times as fast, and its 95 % interval."""
    if ratio is None:
        return Text("1")
    style = "bold red" if ratio["high"] < 1 else "bold green" if ratio["low"] > 1 else "yellow"
    return Text.assemble(
        (f"{ratio['median']:.2f} ×", style), (f" ({ratio['low']:.2f} … {ratio['high']:.2f})", "dim")
    )


def operators(first: str, entry: Mapping[str, Any]) -> RenderableType:
    """Where the time goes, in both models."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("operator", "nodes", "ms", "nodes", "ms", "change"):
        table.add_column(title, justify="left" if title == "operator" else "right", no_wrap=True)
    rows = entry["operators"]
    for row in rows[:MOST]:
        rise = row["second_ms"] - row["first_ms"]
        tone = "red" if rise > 0 else "green"
        table.add_row(
            Text(row["operator"]),
            *_both(row["first_nodes"], row["first_ms"]),
            *_both(row["second_nodes"], row["second_ms"]),
            Text(("+" if rise > 0 else "−") + three(abs(rise)), style=tone),
        )
    head = Text.assemble(
        ("Where the time goes", "bold"),
        f"  {middle(first, 25)}, {middle(entry['name'], 25)}",
    )
    more = len(rows) - MOST
    rest = [Text(f"… and {more} more operators", style="dim")] if more > 0 else []
    return Group(head, table, *rest)


def three(value: float) -> str:
    """*value* with three digits, from a thousandth on."""
    return f"{value:.{3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0}f}"


def _both(nodes: int, milliseconds: float) -> tuple[str, str]:
    return (str(nodes), three(milliseconds)) if nodes else ("–", "–")


def _count(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
