"""``onnxq explain``: all that a pass says about itself."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxq.cli.options import AsJson, Debug


def explain(
    name: Annotated[str, typer.Argument(metavar="PASS", help="Name of a pass.")],
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Explain a pass: what it does, why, and when it declines."""
    from onnxq.cli.console import out, write_json
    from onnxq.pipeline import registry
    from onnxq.pipeline.documentation import SECTIONS, pass_doc
    from onnxq.pipeline.options import options_of

    cls = registry.get(name)
    doc, options = pass_doc(cls), options_of(cls).values()
    if json:
        write_json(
            {
                "name": cls.name,
                "stage": cls.stage.name.lower(),
                "preserves": cls.preserves,
                "summary": doc.summary,
                "sections": doc.sections,
                "options": [
                    {"name": o.name, "type": o.type_text, "default": o.default_text, "help": o.help}
                    for o in options
                ],
            }
        )
        return
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = out()
    keeps = "changes the function on purpose"
    if cls.preserves is not None:
        keeps = "keeps the function exactly"
        if cls.preserves:
            keeps = f"keeps the function within {cls.preserves:g} of its largest value"
    console.print(Text.assemble((cls.name, "bold"), f"  {cls.stage.name.lower()} · {keeps}"))
    console.print(Text(flow(doc.summary)))
    for title in SECTIONS:
        if title in doc.sections:
            console.print(Text(f"\n{title}", style="bold cyan"))
            console.print(Padding(Text(flow(doc.sections[title])), (0, 0, 0, 2)))
    if options:
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for o in options:
            table.add_row(
                Text(o.name, style="bold"),
                Text(f"{o.type_text} = {o.default_text}" if o.default_text else o.type_text),
                Text(o.help),
            )
        console.print(Text("\nOptions", style="bold cyan"))
        console.print(Padding(table, (0, 0, 0, 2)))


def flow(text: str) -> str:
    """*text* with its paragraphs on one line each, for the terminal to wrap; blocks stay."""
    paragraphs = []
    for block in text.replace("``", "`").split("\n\n"):
        lines = block.splitlines()
        verbatim = any(line.startswith((" ", "-", "*", "|")) for line in lines)
        paragraphs.append(block if verbatim else " ".join(lines))
        if block.endswith("::"):
            paragraphs[-1] = paragraphs[-1][:-1]
    return "\n\n".join(paragraphs)
