"""The comparison as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_HEADS = {"simulation": "simulated", "c": "C equal"}


def render(found: Mapping[str, Any], console: Console) -> None:
    """Print what `verify` *found*."""
    sides = [k for k in ("simulation", "c") if found[k] is not None]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer")
    table.add_column("operator")
    for head in ("values", "equal", "off by one", "worse", *(_HEADS[k] for k in sides)):
        table.add_column(head, justify="right")
    for layer in found["layers"]:
        counts = layer["runtime_alone"]
        total = sum(counts.values())
        cells = [f"{total:,}", *(_count(counts[k]) for k in ("exact", "off_by_one", "worse"))]
        for side in sides:
            same = layer[side]["exact"] == total
            cells.append("all" if same else f"{layer[side]['exact']:,}")
        table.add_row(Text(layer["node"]), layer["op_type"], *cells)
    console.print(
        Text(f"{found['model']} · {found['frames']:,} frames · {found['rounding']}", "bold")
    )
    console.print("Each layer alone, on ONNX Runtime's own codes: reference against it.\n")
    console.print(table)
    console.print()
    for line in lines(found):
        console.print(Text(line))


def lines(found: Mapping[str, Any]) -> list[str]:
    """What holds, in sentences."""
    said = []
    for output in found["outputs"]:
        counts = output["runtime"]
        total = sum(counts.values())
        said.append(
            f"output '{output['name']}', from the input on: {counts['exact']:,} of {total:,} equal "
            f"to ONNX Runtime, {counts['off_by_one']:,} off by one, {counts['worse']:,} worse"
        )
    first = next((x for x in found["layers"] if x["first_difference"]), None)
    if first is not None:
        seen = first["first_difference"]
        text = (
            f"first difference: '{first['node']}', frame {seen['frame']}, element {seen['index']}: "
            f"reference {seen['reference']}, ONNX Runtime {seen['runtime']}"
        )
        if "accumulator" in seen:
            times = f" · {seen['multiplier']:,} >> 31" if "multiplier" in seen else ""
            text += (
                f"; accumulator {seen['accumulator']:,}{times} >> {seen['shift']} gives "
                f"{seen['quotient']:g}"
            )
        said.append(text)
    said += _claims(found)
    if found["c"] is None:
        said.append("C: not compared, there is no compiler 'cc'")
    else:
        said.append(f"C: {found['c']['equal']:,} of {found['c']['values']:,} values equal")
    return said


def _claims(found: Mapping[str, Any]) -> list[str]:
    """Which layers are exact in ONNX Runtime as they are, and what holds for the others."""
    layers = found["layers"]
    exact = sum(x["claim"] == "runtime" for x in layers)
    said = [f"ONNX Runtime is exact in {exact} of {len(layers)} layers"]
    if found["simulation"] is not None:
        counts = found["simulation"]
        rest = sum(x["claim"] == "simulation" for x in layers)
        if rest:
            said[0] += f"; in {rest} others only the simulation is, bit for bit"
        said.append(f"simulation: {counts['equal']:,} of {counts['values']:,} values equal")
    return said


def _count(number: int) -> str:
    return f"{number:,}" if number else "–"
