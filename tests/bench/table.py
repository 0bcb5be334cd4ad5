"""The tables of the README: ``python tests/bench/table.py`` writes them from ``results.json``.

They stand between two markers; a test compares what is there with what this program renders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from readme import Section

HERE = Path(__file__).resolve().parent
SECTION = Section("results", "table.py")
CLOSE_UP = ("squeezenet1.1", "mobilenetv2", "cifar_resnet20", "yolox_nano")
"""Networks of which every setting is shown."""

PEER = ("onnxruntime", "U8S8 per channel, reduced range")
OURS = ("onnxq", "balanced")

Row = Mapping[str, Any]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int) -> str:
    """A Markdown table; the columns after *text_columns* are aligned right."""
    rule = ["---" if i < text_columns else "--:" for i in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def decibels(row: Row) -> str:
    return "exact" if row["sqnr_db"] is None else number(row["sqnr_db"], 1)


def number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def close_up(networks: Mapping[str, Any]) -> str:
    """Every setting on the networks of ``CLOSE_UP``."""
    head = ["network", "made by", "metric", "same top-1", "SQNR dB", "size", "time s", "peak MB",
            "speed"]  # fmt: skip
    rows = []
    for name in (n for n in CLOSE_UP if n in networks):
        found = networks[name]
        rows.append([f"**{name}**", f"float, {found['metric']}", number(found["float"], 2),
                     "", "", "1", "", "", "1"])  # fmt: skip
        for row in found["rows"]:
            made = f"{row['tool']}, {row['setting']}"
            made = f"**{made}**" if row["tool"] == "onnxq" else made
            if "error" in row:
                rows.append(["", made, problem(row), *[""] * 6])
                continue
            agree = f"{row['agree']:.1f} %" if "agree" in row else "–"
            rows.append([
                "", made, number(row["metric"], 2), agree, decibels(row),
                number(row["size"], 3), number(row["seconds"], 1), str(row["peak_mb"]),
                number(row.get("speed"), 2),
            ])  # fmt: skip
    return markdown(head, rows, 2)


def problem(row: Row) -> str:
    """What a setting failed at, in three words."""
    return "does not load" if row["error"].startswith("written") else "fails"


def others(networks: Mapping[str, Any]) -> str:
    """One row for each further network: the peer's best fast setting, and ours."""
    head = ["network", "metric", "float", "onnxruntime", "onnxq", "SQNR dB: onnxruntime", "onnxq",
            "size: onnxq", "speed: onnxruntime", "onnxq"]  # fmt: skip
    rows = []
    for name, found in networks.items():
        if name in CLOSE_UP:
            continue
        by = {(r["tool"], r["setting"]): r for r in found["rows"]}
        peer, ours = by[PEER], by[OURS]

        def value(row: Row, key: str, digits: int) -> str:
            if "error" in row:
                return problem(row)
            return decibels(row) if key == "sqnr_db" else number(row.get(key), digits)

        rows.append([
            name, found["metric"], number(found["float"], 2), value(peer, "metric", 2),
            value(ours, "metric", 2), value(peer, "sqnr_db", 1), value(ours, "sqnr_db", 1),
            value(ours, "size", 3), value(peer, "speed", 2), value(ours, "speed", 2),
        ])  # fmt: skip
    return markdown(head, rows, 2)


def memory(measured: Sequence[Row]) -> str:
    """One sentence a recipe: peak memory with few and with many samples."""
    lines = []
    for recipe in dict.fromkeys(row["recipe"] for row in measured):
        few, many = sorted(
            (r for r in measured if r["recipe"] == recipe), key=lambda r: r["samples"]
        )
        change = 100 * (many["peak_mb"] / few["peak_mb"] - 1)
        lines.append(
            f"- {few['network']}, `{recipe}`: {few['peak_mb']} MB with {few['samples']} samples,"
            f" {many['peak_mb']} MB with {many['samples']:,} ({change:+.0f} %)"
        )
    return "\n".join(lines)


def render(result: Mapping[str, Any]) -> str:
    """What stands between the markers."""
    where, versions = result["machine"], result["versions"]
    parts = [
        f"Measured on {where['cores']} cores of {where['cpu']}, onnxruntime"
        f" {versions['onnxruntime']}. *Time* and *peak* are of the whole process; *speed* is at"
        " batch 1 on one thread, all files of a network taking turns, float = 1.",
        close_up(result["networks"]),
    ]
    if set(result["networks"]) - set(CLOSE_UP):
        parts += [
            f"Further networks of the zoo (onnxruntime: {PEER[1]}; onnxq: `{OURS[1]}`):",
            others(result["networks"]),
        ]
    if result["memory"]:
        parts += ["Peak memory and the number of samples:", memory(result["memory"])]
    return "\n\n".join(parts)


def main() -> None:
    result = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    SECTION.write(render(result))


if __name__ == "__main__":
    main()
