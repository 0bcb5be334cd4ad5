"""``onnxq demo``: a real network quantized, with nothing to bring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxq.cli.options import AsJson, Debug, Quiet

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxq.demo import DemoResult


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to.")
    ] = Path("onnxq-demo"),
    quiet: Quiet = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Quantize a small network that is part of onnxq, and show what it cost."""
    from onnxq.cli.console import out as console
    from onnxq.cli.console import write_json
    from onnxq.cli.progress import ProgressLine
    from onnxq.demo import run_demo

    with ProgressLine(quiet=quiet or json) as progress:
        result = run_demo(out, progress)
    if json:
        write_json(as_json(result))
    elif not quiet:
        console().print(page(result))


def as_json(result: DemoResult) -> dict[str, object]:
    """What ``--json`` writes."""
    return {
        "accuracy_float": result.accuracy_float,
        "accuracy_quantized": result.accuracy_quantized,
        "images": result.images,
        "bytes_float": result.bytes_float,
        "bytes_quantized": result.bytes_quantized,
        "worst": list(result.worst),
        "files": {what: str(path) for what, path in result.files.items()},
        "seconds": round(result.seconds, 2),
    }


def page(result: DemoResult) -> RenderableType:
    """Before and after, the five worst layers, the files, and what to do next."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    from onnxq.report.units import bytes_text, percent

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    table.add_column("")
    table.add_column("float", justify="right")
    table.add_column("quantized", justify="right", style="bold")
    table.add_column("", style="dim")
    before, after = result.accuracy_float, result.accuracy_quantized
    table.add_row(
        "accuracy", f"{100 * before:.1f} %", f"{100 * after:.1f} %",
        f"{100 * (after - before):+.1f} points, {result.images} other images",
    )  # fmt: skip
    table.add_row(
        "size", bytes_text(result.bytes_float), bytes_text(result.bytes_quantized),
        f"{percent(100 * result.bytes_quantized / result.bytes_float)} of float",
    )  # fmt: skip
    integer = result.report.get("summary", {}).get("integer_macs_percent")
    if integer is not None:
        table.add_row("integer arithmetic", "0 %", percent(integer), "of multiply-accumulates")
    title = Text.assemble(("onnxq demo", "bold"), f" · handwritten digits, {result.seconds:.1f} s")
    files = Table.grid(padding=(0, 2))
    for what, path in result.files.items():
        files.add_row(Text(what, style="dim"), Text(str(path), overflow="fold"))
    model, data = result.files["float model"], result.files["calibration data"]
    command = f"onnxq quantize {model} --data {data} -o again.onnx"
    again = Text.assemble(("The same by hand  ", "dim"), command, overflow="fold")
    parts: list[RenderableType] = [
        Panel(table, title=title, title_align="left", border_style="blue", expand=False),
        Padding(worst_layers(result), (1, 0)),
        files,
        Padding(again, (1, 0, 0, 0)),
    ]
    return Group(*parts)


def worst_layers(result: DemoResult) -> RenderableType:
    """The five layers that lose most, with a bar each: the shorter, the worse."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from onnxq.report.units import bar, db_text, tone

    alone = all(layer.get("isolated_sqnr_db") is not None for layer in result.worst)
    key = "isolated_sqnr_db" if alone else "cumulative_sqnr_db"
    table = Table.grid(padding=(0, 2))
    for layer in result.worst:
        value = layer[key]
        table.add_row(
            Text(str(layer["node"])),
            Text(str(layer["op_type"]), style="dim"),
            Text(f"{db_text(value)} dB", style=f"bold {tone(value)}", justify="right"),
            Text("" if value is None else bar(value, 20), style=tone(value)),
        )
    where = "each alone" if alone else "up to here"
    head = Text.assemble(("The five worst layers", "bold"), (f"  SQNR, {where}", "dim"))
    return Group(head, table)
