"""``onnxq targets``: which hardware profiles there are."""

from __future__ import annotations

from onnxq.cli.options import AsJson, Debug


def targets(json: AsJson = False, debug: Debug = False) -> None:
    """List the hardware profiles, and which one 'auto' is here."""
    from onnxq.cli.console import out, write_json
    from onnxq.targets import TARGETS, detect

    chosen, why = detect()
    if json:
        write_json(
            {
                "auto": chosen,
                "why": why,
                "targets": [
                    {
                        "name": t.name,
                        "summary": t.summary,
                        "activations": str(t.activations.dtype),
                        "weights": str(t.weights.dtype),
                        "opset": t.opset,
                        "operators": sorted(t.rules),
                    }
                    for t in TARGETS.values()
                ],
            }
        )
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("target", "activations", "weights", "operators", "summary"):
        table.add_column(title, justify="right" if title == "operators" else "left")
    for t in TARGETS.values():
        table.add_row(
            Text(t.name, style="bold green" if t.name == chosen else "bold"),
            str(t.activations.dtype), str(t.weights.dtype), str(len(t.rules)), Text(t.summary),
        )  # fmt: skip
    out().print(table)
    out().print(Text.assemble("\nauto here: ", (chosen, "bold green"), f" ({why})"))
