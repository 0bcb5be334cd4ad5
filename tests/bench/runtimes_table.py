"""The table of runtimes in the README, written from ``runtimes.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from readme import Section

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "runtimes.json"
SECTION = Section("runtimes", "runtimes_table.py")
SLOW = "onnx reference"
TITLES = {
    "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO",
    "onnxruntime-openvino": "OpenVINO's provider", SLOW: "onnx's reference",
}  # fmt: skip


def table(result: Mapping[str, Any]) -> str:
    """*result* as Markdown."""
    runtimes = list(result["runtimes"])
    head = ["network", "file", *(f"{TITLES[r]} {result['runtimes'][r]}" for r in runtimes)]
    lines = [f"| {' | '.join(head)} |", "| --- | --- |" + " --: |" * len(runtimes)]
    for name, network in result["networks"].items():
        for file, rows in network["files"].items():
            title = f"float, {network['metric']} of {network['samples']}"
            title = title if file == "float" else f"`--target {file}`"
            cells = [f"**{name}**" if file == "float" else "", title]
            cells += [_cell(rows.get(runtime), file) for runtime in runtimes]
            lines.append(f"| {' | '.join(cells)} |")
    where = result["machine"]
    lines += [
        "",
        f"Measured on {where['cores']} cores of {where['cpu']}, all of a network taking turns.",
    ]
    return "\n".join(lines)


def _cell(row: Mapping[str, Any] | None, file: str) -> str:
    if row is None:
        return ""
    if "error" in row:
        return "refused"
    parts = [f"{row['metric']:.2f}"] if "metric" in row else []
    if file == "float":
        return " · ".join([*parts, f"{row['ms']:.2f} ms"])
    if row["sqnr_db"] is not None:
        parts.append(f"{row['sqnr_db']:.1f} dB")
    return " · ".join([*parts, f"{row['speed']:.2f} ×"] if "speed" in row else parts)


def main() -> None:
    SECTION.write(table(json.loads(RESULTS.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
