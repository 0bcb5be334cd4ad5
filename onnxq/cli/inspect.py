"""``onnxq inspect``: what would be quantized, and what would not be and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from onnxq.cli.options import AsJson, Debug, ModelFile, RecipeText, Target

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxq.report.inspection import Inspection


def inspect(
    model: ModelFile,
    target: Target = "auto",
    recipe: RecipeText = "balanced",
    nodes: Annotated[
        bool, typer.Option("--nodes", metavar="", help="Also list every node.")
    ] = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what would be quantized, what would not, and why."""
    from onnxq.cli.console import out, write_json
    from onnxq.graph import Model
    from onnxq.pipeline import Recipe
    from onnxq.report.inspection import inspect as run_inspect
    from onnxq.report.terminal import kept_float, warnings
    from onnxq.targets import get_target

    found = run_inspect(Model.load(model), get_target(target), Recipe.resolve(recipe))
    if json:
        write_json(found.as_dict())
        return
    from rich.padding import Padding
    from rich.text import Text

    console = out()
    title = f" · {found.target} · {found.recipe or 'recipe'}"
    console.print(Text.assemble((found.model, "bold"), title))
    console.print(Padding(_operators(found), (1, 0, 0, 0)))
    if nodes:
        console.print(Padding(_nodes(found), (1, 0, 0, 0)))
    report = {"kept_float": found.kept_float(), "warnings": found.notes}
    for part in (kept_float(report), warnings(report)):
        if part is not None:
            console.print(Padding(part, (1, 0, 0, 0)))


def _operators(found: Inspection) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    from onnxq.report.units import bytes_text, count_text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("operator", "nodes", "integer", "MACs", "weights"):
        table.add_column(title, justify="left" if title == "operator" else "right", no_wrap=True)
    totals = found.operators()
    everything = {k: sum(t[k] for t in totals) for k in ("nodes", "integer", "macs", "bytes")}
    for total in (*totals, {"op_type": "all", **everything}):
        table.add_row(
            Text(total["op_type"], style="bold" if total["op_type"] == "all" else ""),
            str(total["nodes"]),
            str(total["integer"]) if total["integer"] else "–",
            count_text(total["macs"]) if total["macs"] else "–",
            bytes_text(total["bytes"]) if total["bytes"] else "–",
            end_section=total is totals[-1],
        )
    return table


def _nodes(found: Inspection) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    from onnxq.report.units import count_text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("node", "operator", "MACs", "runs as"):
        table.add_column(title, overflow="fold")
    for row in found.rows:
        amount = "?" if row.macs is None else count_text(row.macs) if row.macs else "–"
        kernel = Text(row.kernel or f"float: {row.reason or 'as it is'}")
        kernel.stylize("green" if row.kernel else "yellow")
        table.add_row(Text(row.node), Text(row.op_type, style="dim"), amount, kernel)
    return table
