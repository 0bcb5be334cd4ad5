"""The error report in the terminal: a summary, the layers that lose most, and what stayed float."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import isfinite
from os import PathLike
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from onnxq.report.bench.terminal import speed_text
from onnxq.report.ranking import reasons
from onnxq.report.units import bar, bytes_text, db_text, middle, percent, short_name, tone

Report = Mapping[str, Any]
"""A report of the schema ``onnxq-report/1``; what an extension leaves out is not shown."""


def render(
    report: Report,
    console: Console,
    *,
    files: Mapping[str, str | PathLike[str]] | None = None,
    limit: int = 12,
) -> None:
    """Write *report* to *console*.

    Args:
        report: the report.
        console: where to; its width is used.
        files: what was written, by what it is.
        limit: how many layers are shown, worst first.
    """
    console.print(summary(report))
    layers = report.get("layers") or []
    if layers:
        console.print(Padding(layer_table(layers, limit, console.width), (1, 0, 0, 0)))
    for part in (kept_float(report), declines(report), recommendation(report), warnings(report)):
        if part is not None:
            console.print(Padding(part, (1, 0, 0, 0)))
    if files:
        render_files(files, console)


def render_files(files: Mapping[str, str | PathLike[str]], console: Console) -> None:
    """Write to *console* what was written, by what it is."""
    grid = Table.grid(padding=(0, 2))
    for what, path in files.items():
        grid.add_row(Text(what, style="dim"), Text(str(path), style="bold", overflow="fold"))
    console.print(Padding(grid, (1, 0, 0, 0)))


def summary(report: Report) -> RenderableType:
    """Three lines: accuracy, size, integer kernels; in a frame titled with model and target."""
    parts = report.get("summary", {})
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    grid.add_row("accuracy", _accuracy(report, parts.get("outputs") or []))
    before, after = parts.get("bytes_float"), parts.get("bytes_quantized")
    if before and after is not None:
        grid.add_row(
            "size",
            Text.assemble(
                f"{bytes_text(before)} → ",
                (bytes_text(after), "bold"),
                f"  {percent(100 * after / before)} of float",
            ),
        )
    macs, nodes = parts.get("integer_macs_percent"), parts.get("integer_nodes_percent")
    if macs is not None or nodes is not None:
        shares = [
            f"{percent(value)} of {what}"
            for value, what in ((macs, "multiply-accumulates"), (nodes, "nodes"))
            if value is not None
        ]
        grid.add_row("integer", Text(", ".join(shares)))
    if (ratio := parts.get("speedup")) is not None:
        grid.add_row("speed", Text.assemble(speed_text(ratio), "  float = 1"))
    title = Text(str(report.get("model", "model")), style="bold", overflow="ellipsis")
    recipe = str(report.get("recipe") or "")
    if "," in recipe:
        recipe = f"{recipe.count(',') + 1} passes"
    for value in (report.get("target"), recipe):
        if value:
            title.append(f" · {middle(str(value), 40)}", style="not bold")
    return Panel(grid, title=title, title_align="left", border_style="blue", expand=False)


def _accuracy(report: Report, outputs: Sequence[Mapping[str, Any]]) -> Text:
    lines = Text()
    for output in outputs:
        if lines:
            lines.append("\n")
        value = output.get("sqnr_db")
        lines.append(f"{db_text(value)} dB SQNR", style=f"bold {tone(value)}")
        if (cosine := output.get("cosine")) is not None:
            lines.append(f"  cosine {cosine:.5f}")
        if (agreement := output.get("top1_agreement")) is not None:
            # a share or a percentage: both are found in the wild
            share = 100 * agreement if agreement <= 1 else agreement
            lines.append(f"  top-1 agrees {percent(share)}")
        lines.append(f"  '{middle(str(output.get('name')), 30)}'", style="dim")
    data = report.get("data") or {}
    if not lines:
        lines.append("not measured", style="yellow")
    elif (samples := data.get("report_samples")) is not None:
        kind: dict[object, str] = {True: ", held out", False: ", also used for calibration"}
        made_up = "synthetic " if data.get("synthetic") else ""
        held_out = kind.get(data.get("held_out"), "")
        lines.append(f"\non {samples} {made_up}samples{held_out}", style="dim")
    return lines


def layer_table(layers: Sequence[Mapping[str, Any]], limit: int, width: int) -> RenderableType:
    """The *limit* worst layers with a bar each: the shorter, the worse."""
    key = "isolated_sqnr_db" if _any(layers, "isolated_sqnr_db") else "cumulative_sqnr_db"
    measured = [row for row in layers if row.get(key) is not None]
    if not measured:
        return Text("no layer was measured", style="yellow")
    ranked = sorted(measured, key=lambda row: float(row[key]))
    wide = width >= 100
    extra = wide and key == "isolated_sqnr_db" and _any(ranked, "cumulative_sqnr_db")
    shares = _any(ranked, "share")
    bar_width = 20 if wide else 12
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("layer", no_wrap=True)
    if wide:
        table.add_column("operator", no_wrap=True)
    table.add_column("dB", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=bar_width)
    if extra:
        table.add_column("so far", justify="right", no_wrap=True)
    if shares:
        table.add_column("mostly from", no_wrap=True)
    table.add_column("runs as", no_wrap=True)
    # what the other columns leave: operator 13, dB 5, so far 6, share 12, kernel 11, gaps 2 each
    left = width - bar_width - 22 - 15 * wide - 8 * extra - 14 * shares
    for row in ranked[:limit]:
        value = float(row[key])
        cells: list[RenderableType] = [Text(short_name(str(row.get("node")), max(16, left)))]
        if wide:
            cells.append(Text(str(row.get("op_type", "")), style="dim"))
        cells.append(Text(db_text(value), style=f"bold {tone(value)}"))
        cells.append(Text(bar(value, bar_width), style=tone(value)))
        if extra:
            cells.append(Text(db_text(row.get("cumulative_sqnr_db"))))
        if shares:
            cells.append(Text(_blame(row.get("share"))))
        kernel = row.get("kernel")
        cells.append(Text(str(kernel)) if kernel else Text("float", style="yellow"))
        table.add_row(*cells)
    kind = "each alone" if key == "isolated_sqnr_db" else "up to here"
    head = Text.assemble(("Layers that lose most", "bold"), (f"  SQNR in dB, {kind}", "dim"))
    rest = len(ranked) - limit
    more = [Text(f"… and {rest} better ones", style="dim")] if rest > 0 else []
    return Group(head, table, *more)


def kept_float(report: Report) -> RenderableType | None:
    """What stayed in floating point, grouped by reason, most frequent first."""
    groups = reasons(report.get("kept_float") or [])
    if not groups:
        return None
    count = sum(len(nodes) for _, nodes in groups)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for reason, rows in groups:
        names = (f"{r.get('node')} ({r.get('op_type', '')})".replace(" ()", "") for r in rows[:3])
        shown = ", ".join(short_name(n, 40) for n in names) + (" …" if len(rows) > 3 else "")
        grid.add_row(str(len(rows)), Text.assemble(reason, (f"\n{shown}", "dim")))
    return Group(Text.assemble(("Kept in float", "bold"), f"  {_nodes(count)}"), grid)


def declines(report: Report) -> RenderableType | None:
    """How many candidates passes left as they were, by pass."""
    counts: dict[str, int] = defaultdict(int)
    for row in report.get("declines") or []:
        counts[str(row.get("pass"))] += 1
    if not counts:
        return None
    parts = ", ".join(f"{name} {n}" for name, n in sorted(counts.items(), key=lambda i: -i[1]))
    return Text.assemble(("Declined", "bold"), f"  {parts}", ("  (reasons: --json)", "dim"))


def recommendation(report: Report) -> RenderableType | None:
    """What the report advises."""
    lines = [_line(x) for x in report.get("recommendation") or []]
    if not lines:
        return None
    return Group(Text("Recommended", style="bold"), *(Text(f"→ {x}") for x in lines))


def warnings(report: Report) -> RenderableType | None:
    """Notes, then warnings, a line each; None where there are none."""
    lines = [("note    ", "dim", str(n)) for n in report.get("notes") or []]
    lines += [("warning ", "bold yellow", str(w)) for w in report.get("warnings") or []]
    if not lines:
        return None
    return Group(*(Text.assemble((word, style), line) for word, style, line in lines))


def _line(item: object) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    words = {"float": "keep '{}' in float", "int16": "raise '{}' to 16 bits"}
    if item.get("action") not in words:
        return ", ".join(f"{k}: {v}" for k, v in item.items())
    facts = [words[item["action"]].format(item["node"])]
    if item.get("predicted_sqnr_db") is not None:
        facts.append(f"outputs then at {db_text(item['predicted_sqnr_db'])} dB")
    if item.get("macs_percent") is not None:
        facts.append(f"{percent(item['macs_percent'])} of the multiply-accumulates")
    return "; ".join([", ".join(facts), *filter(None, [item.get("reason")])])


def _blame(share: object) -> str:
    """The largest part of a layer's noise, such as ``weights 71 %``."""
    if not isinstance(share, Mapping):
        return ""
    known = {k: float(v) for k, v in share.items() if v is not None and isfinite(float(v))}
    if not known or sum(known.values()) <= 0:
        return ""
    name = max(known, key=lambda k: known[k])
    return f"{name} {100 * known[name] / sum(known.values()):.0f} %"


def _any(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    return any(row.get(key) is not None for row in rows)


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
