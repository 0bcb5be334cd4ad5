"""The coverage of a model in the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from onnxq.report.coverage.check import Coverage, Finding
from onnxq.report.coverage.saturation import LIMIT
from onnxq.report.units import count_text, middle, percent, short_name

#: Rows that each list shows.
MOST = 8


def render(found: Coverage, console: Console, *, model: str, target: str) -> None:
    """Write *found* to *console*; *model* and *target* are its title."""
    console.print(summary(found, model, target))
    parts = (kernels(found), unfused(found), hazards(found), saturation(found))
    for part in parts:
        if part is not None:
            console.print(Padding(part, (1, 0, 0, 0)))


def summary(found: Coverage, model: str, target: str) -> RenderableType:
    """How much runs on integers, how much pays for conversions in vain."""
    facts = found.summary()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    tones = {"integer": "green", "around": "yellow", "float": ""}
    labels = {"integer": "integer", "around": "between Q/DQ", "float": "float"}
    for kind, label in labels.items():
        if facts[f"{kind}_nodes"] or kind != "around":
            grid.add_row(label, Text(_share(facts, kind), style=tones[kind]))
    grid.add_row("conversions", f"{facts['conversions']} to codes or back")
    if found.inner:
        bodies = len({n.body for n in found.nodes if n.body})
        inside = f"{_count(found.inner, 'node')} in {bodies}, counted as one step of each"
        if facts["unknown_macs"]:
            layers = _count(facts["unknown_macs"], "layer")
            inside += f"; sizes of {layers} there are not known"
        grid.add_row("bodies", inside)
    title = Text(model, style="bold", overflow="ellipsis")
    title.append(f" · {target}", style="not bold")
    return Panel(grid, title=title, title_align="left", border_style="blue", expand=False)


def _share(facts: dict[str, object], kind: str) -> str:
    nodes, total = facts[f"{kind}_nodes"], facts["nodes"]
    assert isinstance(nodes, int) and isinstance(total, int)
    shown = f"{nodes} of {total} nodes"
    macs, all_macs = facts[f"{kind}_macs"], facts["macs"]
    assert isinstance(macs, int) and isinstance(all_macs, int)
    if facts["integer_macs_percent"] is None:
        unknown = "sizes are not known"
        known = unknown if facts["unknown_macs"] else "none are there"
        return f"{shown} (multiply-accumulates: {known})"
    return f"{percent(100 * macs / all_macs)} of multiply-accumulates, {shown}"


def kernels(found: Coverage) -> RenderableType | None:
    """What runs, by operator: most work first."""
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for node in found.work:
        if not node.runs_as.startswith("part of"):
            total = totals[node.runs_as or node.op_type, node.kind]
            total[0] += 1
            total[1] += node.macs or 0
    if not totals:
        return None
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("runs as", "nodes", "MACs", ""):
        table.add_column(title, justify="right" if title in ("nodes", "MACs") else "left")
    tones = {"integer": "green", "around": "yellow"}
    words = {"integer": "integer", "around": "float between Q and DQ", "float": "float"}
    order = sorted(totals.items(), key=lambda item: (-item[1][1], -item[1][0]))
    for (operator, kind), (nodes, macs) in order[:MOST]:
        word = Text(words[kind], style=tones.get(kind, "dim"))
        table.add_row(Text(operator), str(nodes), count_text(macs) if macs else "–", word)
    return Group(table, *_more(len(order) - MOST, "operators"))


def unfused(found: Coverage) -> RenderableType | None:
    """Quantized groups that are no kernels, by the rule that they break."""
    if not found.unfused:
        return None
    entries = [
        (_placed(short_name(f"{u.node} ({u.op_type})", 40), u.body), u.findings)
        for u in found.unfused
    ]
    head = Text.assemble(
        ("Between Q and DQ, but not fused", "bold"), f"  {_count(len(found.unfused), 'node')}"
    )
    return _by_rule(head, entries)


def hazards(found: Coverage) -> RenderableType | None:
    """What fused and computes something else than the graph says."""
    if not found.hazards:
        return None
    entries = [(_placed(short_name(h.node, 40), h.body), (h.finding,)) for h in found.hazards]
    head = Text("Fused, but computes something else than the graph says", style="bold red")
    return _by_rule(head, entries)


def _by_rule(head: Text, entries: Sequence[tuple[str, tuple[Finding, ...]]]) -> RenderableType:
    groups: dict[tuple[str, ...], list[tuple[str, tuple[Finding, ...]]]] = defaultdict(list)
    for entry in entries:
        groups[tuple(f.rule for f in entry[1])].append(entry)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    order = sorted(groups.values(), key=lambda g: -len(g))
    for group in order[:MOST]:
        text = Text()
        for finding in group[0][1]:
            text.append(f"{finding.rule}: ", style="cyan")
            text.append(finding.why[0].upper() + finding.why[1:] + ".\n")
            if finding.remedy:
                text.append("Try: ", style="green")
                text.append(f"{finding.remedy}.\n")
        names = ", ".join(name for name, _ in group[:3])
        text.append(names + (" …" if len(group) > 3 else ""), style="dim")
        grid.add_row(str(len(group)), text)
    return Group(head, grid, *_more(len(order) - MOST, "reasons (--json has them)"))


def saturation(found: Coverage) -> RenderableType | None:
    """Layers that may saturate on CPUs without VNNI."""
    if not found.exposed:
        return None
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("layer", "kernel", "channels", f"largest |w₁|+|w₂|, limit {LIMIT}"):
        table.add_column(title, justify="left" if title in ("layer", "kernel") else "right")
    for e in sorted(found.exposed, key=lambda e: (-e.worst, -e.channels))[:MOST]:
        cells = (
            Text(_placed(middle(e.node, 48), e.body)),
            e.op_type,
            f"{e.channels} of {e.of}",
            str(e.worst),
        )
        table.add_row(*cells)
    head = Text.assemble(
        ("May saturate on x86 without VNNI", "bold yellow"),
        f"  {_count(len(found.exposed), 'layer')}",
    )
    remedy = Text.assemble(("Try: ", "green"), "onnxq quantize … --target x86")
    return Group(head, table, *_more(len(found.exposed) - MOST, "layers"), remedy)


def _placed(node: str, body: str) -> str:
    """The name of *node*, with the body that it is in."""
    return f"{node} in {body}" if body else node


def _more(count: int, what: str) -> Iterator[Text]:
    if count > 0:
        yield Text(f"… and {count} more {what}", style="dim")


def _count(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
