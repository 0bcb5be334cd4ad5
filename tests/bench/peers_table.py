"""The table of peers in the README: ``python tests/bench/peers_table.py``, from ``peers.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from peers import RESULTS
from readme import Section
from table import decibels, markdown, number, problem

SECTION = Section("peers", "peers_table.py")


def table(found: Mapping[str, Any]) -> str:
    """What was measured on one processor."""
    machine, versions = found["machine"], found["versions"]
    speeds = list(next(iter(found["networks"].values()))["float_ms"])
    heads = [f"{kind} · {threads}" for kind, threads in (key.split(", ") for key in speeds)]
    head = ["network", "made by", "metric", "SQNR dB", "integer %", "CPU s", "peak MB", *heads]
    rows = []
    for name, network in found["networks"].items():
        rows.append([
            f"**{name}**", f"float, {network['metric']}", number(network["float"], 2), *[""] * 4,
            *["1"] * len(speeds),
        ])  # fmt: skip
        for row in network["rows"]:
            made = f"{row['tool']}, {row['setting']}"
            made = f"**{made}**" if row["tool"] == "onnxq" else made
            if "error" in row:
                why = row["error"] if row["error"] == "not installed" else problem(row)
                rows.append(["", made, why, *[""] * (4 + len(speeds))])
                continue
            rows.append([
                "", made, number(row["metric"], 2), decibels(row),
                number(row["integer_macs_percent"], 0), number(row["cpu_seconds"], 1),
                str(row["peak_mb"]), *(number(row["speed"].get(key), 2) for key in speeds),
            ])  # fmt: skip
    tools = ", ".join(f"{tool} {version}" for tool, version in versions.items())
    return f"{markdown(head, rows, 2)}\n\n{tools}, on {machine['cores']} cores of {machine['cpu']}."


def tables(found: Sequence[Mapping[str, Any]]) -> str:
    """What stands between the marks: a table for each processor."""
    parts = [
        *map(table, found),
        "*CPU s* and *peak* are of the whole process; the last columns are speeds against float at"
        " batch 1, all files of a network taking turns, with the processor's instructions or with"
        " AVX2 alone (the later instructions hidden), on as many threads.",
    ]
    return "\n\n".join(parts)


if __name__ == "__main__":
    SECTION.write(tables(json.loads(RESULTS.read_text(encoding="utf-8"))))
