"""What differs between two reports, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from onnxq.report.diff import SAME_DB, Change, Difference
from onnxq.report.markdown import code, escaped, table
from onnxq.report.units import bytes_text, db_text, percent, short_name

#: Layers that are listed each way.
MOST = 12

_SUMMARY = {
    "bytes_quantized": ("size", bytes_text),
    "integer_macs_percent": ("integer multiply-accumulates", percent),
    "integer_nodes_percent": ("integer nodes", percent),
}


def gain_text(change: Change) -> str:
    """By how much it changed: ``+1.3``."""
    return "–" if change.gain is None else f"{change.gain:+.1f}"


def facts(found: Difference) -> Iterator[tuple[str, str, str]]:
    """What of the summary changed: its name, before, after."""
    for key, (name, text) in _SUMMARY.items():
        one, two = found.summary.get(key, (None, None))
        if one is not None and two is not None and one != two:
            yield name, text(one), text(two)


def remarks(found: Difference) -> Iterator[str]:
    """What else is to be said of the layers."""
    where = "alone" if found.measure == "isolated_sqnr_db" else "up to there"
    if found.same:
        yield f"{found.same} layers changed by less than {SAME_DB:g} dB {where}"
    for change in found.kernels:
        one, two = change.kernel_before or "float", change.kernel_after or "float"
        yield f"'{change.name}' ran as {one}, now as {two}"
    for names, what in ((found.only_before, "before"), (found.only_after, "after")):
        if names:
            few = ", ".join(f"'{n}'" for n in names[:5]) + (" …" if len(names) > 5 else "")
            yield f"{len(names)} layers are quantized only {what}: {few}"
    yield from found.notes


def render(found: Difference, console: Console) -> None:
    """Write *found* to *console*."""
    grid = Table.grid(padding=(0, 2))
    for output in found.outputs:
        grid.add_row(
            Text(f"output '{output.name}'"),
            f"{db_text(output.before)} → {db_text(output.after)} dB",
            _coloured(output),
        )
    for name, one, two in facts(found):
        grid.add_row(Text(name), f"{one} → {two}", "")
    console.print(grid)
    for title, changes in (("Worse", found.worse), ("Better", found.better)):
        if not changes:
            continue
        shown = Table(
            title=title, title_justify="left", box=None, header_style="dim", pad_edge=False
        )
        shown.add_column("layer")
        for name in ("before", "after", "dB"):
            shown.add_column(name, justify="right")
        for change in changes[:MOST]:
            shown.add_row(
                Text(short_name(change.name, 44)), db_text(change.before), db_text(change.after),
                _coloured(change),
            )  # fmt: skip
        console.print()
        console.print(shown)
        if len(changes) > MOST:
            console.print(Text(f"… and {len(changes) - MOST} more", style="dim"))
    said = list(remarks(found))
    if said:
        console.print()
    for line in said:
        console.print(Text(line, style="dim"))


def to_markdown(found: Difference) -> str:
    """*found* as Markdown, for a pull request."""
    head = ["", "before", "after", "change dB"]
    rows = [
        [f"output {code(o.name)}", db_text(o.before), db_text(o.after), gain_text(o)]
        for o in found.outputs
    ]
    rows += [[name, one, two, ""] for name, one, two in facts(found)]
    parts = ["## Quantization: what changed", table(head, rows)]
    for title, changes in (("Worse", found.worse), ("Better", found.better)):
        if changes:
            rows = [
                [code(c.name), db_text(c.before), db_text(c.after), gain_text(c)]
                for c in changes[:MOST]
            ]
            more = f"\n\n… and {len(changes) - MOST} more" if len(changes) > MOST else ""
            parts.append(f"### {title}\n\n" + table(["layer", *head[1:]], rows) + more)
    said = [f"- {escaped(line)}" for line in remarks(found)]
    if said:
        parts.append("\n".join(said))
    return "\n\n".join(parts) + "\n"


def _coloured(change: Change) -> Text:
    gain = change.gain
    style = "" if gain is None or abs(gain) < SAME_DB else "green" if gain > 0 else "red"
    return Text(gain_text(change), style=style)
