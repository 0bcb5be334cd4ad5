"""``onnxq run``: any list of passes over a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import AsJson, Debug, ModelFile, Quiet, Target


def run(
    model: ModelFile,
    passes: Annotated[
        str,
        typer.Option("--passes", metavar="PASSES", help="'pass,pass{option=value},…' or a recipe."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="File to write.")],
    target: Target = "auto",
    quiet: Quiet = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a list of passes over a model.

    Passes that need data belong to 'quantize'.
    """
    from onnxq.cli.console import out, write_json
    from onnxq.cli.files import check_output
    from onnxq.cli.progress import ProgressLine

    check_output(output, inputs=[model])

    from onnxq.graph import Model
    from onnxq.pipeline import Context, PassManager, Recipe
    from onnxq.targets import get_target

    recipe = Recipe.resolve(passes)
    ctx = Context(target=get_target(target))
    edited = Model.load(model)
    with ProgressLine(quiet=quiet or json) as progress:
        PassManager(recipe.passes, progress=progress).run(edited, ctx)
        edited.save(output)
    if json:
        write_json(
            {
                "passes": [
                    {
                        "pass": r.name,
                        "options": r.options,
                        "nodes_added": r.nodes_added,
                        "nodes_removed": r.nodes_removed,
                        "changed": r.changed,
                        "seconds": round(r.seconds, 4),
                        "declines": [{"node": d.node, "reason": d.reason} for d in r.declines],
                    }
                    for r in ctx.journal.records
                ],
                "warnings": ctx.journal.warnings,
            }
        )
        return
    if quiet:
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("pass", "nodes", "ms", "declined"):
        table.add_column(title, justify="right" if title == "ms" else "left", overflow="fold")
    for r in ctx.journal.records:
        edits = f"+{r.nodes_added} −{r.nodes_removed}" if r.changed else "unchanged"
        reasons = Text("\n".join(f"{d.node}: {d.reason}" for d in r.declines), style="dim")
        table.add_row(Text(r.name, style="bold"), edits, f"{1000 * r.seconds:.0f}", reasons)
    out().print(table)
    for text in ctx.journal.warnings:
        out().print(Text.assemble(("warning ", "bold yellow"), text))
