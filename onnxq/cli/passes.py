"""``onnxq passes``: which passes there are."""

from __future__ import annotations

from onnxq.cli.options import AsJson, Debug


def passes(json: AsJson = False, debug: Debug = False) -> None:
    """List every pass."""
    from onnxq.cli.console import out, write_json
    from onnxq.pipeline.documentation import pass_doc
    from onnxq.pipeline.options import options_of
    from onnxq.pipeline.registry import all_passes

    rows = [
        {
            "name": cls.name,
            "stage": cls.stage.name.lower(),
            "preserves": cls.preserves,
            "summary": pass_doc(cls).summary,
            "module": cls.__module__,
            "options": [
                {"name": o.name, "type": o.type_text, "default": o.default_text, "help": o.help}
                for o in options_of(cls).values()
            ],
        }
        for cls in all_passes().values()
    ]
    if json:
        write_json(rows)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("stage", "pass", "what it does"):
        table.add_column(title, no_wrap=title != "what it does")
    stage = ""
    for cls, row in zip(all_passes().values(), rows, strict=True):
        shown = "" if row["stage"] == stage else str(row["stage"])
        if shown and stage:
            table.add_row()
        stage = str(row["stage"])
        text = Text(str(row["summary"]))
        if names := ", ".join(options_of(cls)):
            text.append(f"\n{{{names}}}", style="dim")
        table.add_row(Text(shown, style="cyan"), Text(cls.name, style="bold"), text)
    out().print(table)
    out().print(Text("\n'onnxq explain PASS' says more of one.", style="dim"))
