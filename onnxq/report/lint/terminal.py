"""What a runtime would make of a model, in the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from onnxq.report.lint.run import Problem
from onnxq.report.lint.runtimes import Runtime
from onnxq.report.units import short_name

_EFFECTS = {
    "refused": ("does not load", "bold red"),
    "wrong": ("computes something else", "bold red"),
    "elsewhere": ("not on its integer units", "yellow"),
    "float": ("runs in float", "yellow"),
}


def render(problems: Sequence[Problem], console: Console, *, model: str, runtime: Runtime) -> None:
    """Write *problems* of *model* with *runtime* to *console*."""
    title = Text.assemble((model, "bold"), f" · {runtime.title}")
    count = {e: sum(p.effect == e for p in problems) for e in _EFFECTS}
    parts = [f"{_EFFECTS[e][0]}: {_nodes(n)}" for e, n in count.items() if n]
    lines = Text("; ".join(parts) if parts else "nothing breaks its documented rules")
    lines.stylize("green" if not parts else "")
    lines.append(f"\n{runtime.source}", style="dim")
    console.print(Panel(lines, title=title, title_align="left", border_style="blue", expand=False))
    groups: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[problem.rule].append(problem)
    if not groups:
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for rule, group in groups.items():
        first = group[0]
        word, style = _EFFECTS[first.effect]
        text = Text.assemble((f"{rule}: ", "cyan"), (word, style), ". ")
        text.append(first.why[0].upper() + first.why[1:] + ".\n")
        text.append("Try: ", style="green")
        text.append(f"{first.remedy}.")
        names = [f"{short_name(p.node, 40)} ({p.op_type})" for p in group if p.node]
        if names:
            text.append("\n" + ", ".join(names[:3]) + (" …" if len(names) > 3 else ""), style="dim")
        grid.add_row(str(len(group)), text)
    console.print(Padding(grid, (1, 0, 0, 0)))


def _nodes(count: int) -> str:
    return "1 place" if count == 1 else f"{count} places"
