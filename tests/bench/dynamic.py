"""Dynamic quantization of the zoo's networks with MatMul, Gemm or LSTM, beside onnxruntime's.

::

    python tests/bench/dynamic.py                      # all of them; writes dynamic.json
    python tests/bench/dynamic.py villes_transformer_d64h8
    python tests/bench/dynamic.py --table              # prints what dynamic.json has

Accuracy is the zoo's own metric, size is relative to float, speed is at batch 1 on one thread, all
files of a network taking turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from compare import ONNXQ, entries, required, scored, zoo_program
from process import run

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "dynamic.json"
NETWORKS = (
    "villes_transformer_d64h8", "names_transformer", "shakespeare_rnn", "gtcrn_simple",
    "silero_vad_16k_op15", "silero_vad", "mnist_cntk", "mobilenetv2",
)  # fmt: skip
PEERS = {
    "onnxruntime, default": "default",
    "onnxruntime, per channel": "per-channel",
    "onnxruntime, linear and LSTM only, sub-graphs": "linear",
}
OWN = {"**onnxq, dynamic**": ("--mode", "dynamic")}


def measured(name: str, folder: Path) -> dict[str, Any]:
    """Every quantizer on the network *name*."""
    entry = entries()[name]
    model = zoo_program().parent / entry["model"]
    data = folder / f"{name}.npz"
    required(run([sys.executable, zoo_program(), "calib", name, data]))
    rows: list[dict[str, Any]] = []
    files: list[Path] = [model]
    for number, title in enumerate([*PEERS, *OWN]):
        out = folder / f"{name}.{number}.onnx"
        if title in PEERS:
            command = [sys.executable, HERE / "peer_dynamic.py", model, out, PEERS[title]]
        else:
            command = [ONNXQ, "quantize", model, "-o", out, "--quiet", *OWN[title]]
        ended = run(command)
        row: dict[str, Any] = {"made_by": title, "seconds": round(ended.seconds, 1)}
        if ended.code:
            row["error"] = ended.reason
        else:
            row |= scored(name, out)
            row["size"] = round(out.stat().st_size / model.stat().st_size, 3)
        if "error" not in row:
            files.append(out)
            row["file"] = str(out)
        rows.append(row)
    timed = json.loads(required(run([sys.executable, HERE / "speed.py", data, *files])).output)
    for row in rows:
        found = timed.get(row.pop("file", ""))
        if found is not None:
            row["speed"] = round(timed[str(model)]["ms"] / found["ms"], 2)
    return {"metric": entry["metric"], "float": entry["fp32_metric"], "rows": rows}


def table(found: dict[str, Any]) -> str:
    """*found* as Markdown."""
    lines = [
        "| network | made by | metric | SQNR dB | size | speed |",
        "| --- | --- | --: | --: | --: | --: |",
    ]  # fmt: skip
    for name, network in found.items():
        lines.append(
            f"| **{name}** | float, {network['metric']} | {network['float']:.4g} | | 1 | 1 |"
        )
        for row in network["rows"]:
            if "error" in row:
                lines.append(f"| | {row['made_by']} | fails | | | |")
                continue
            sqnr = row.get("sqnr_db")
            shown = "" if sqnr is None else f"{sqnr:.1f}"
            lines.append(
                f"| | {row['made_by']} | {row['metric']:.4g} | {shown} | {row['size']:.3f} | "
                f"{row.get('speed', float('nan')):.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if not given.table:
        with tempfile.TemporaryDirectory() as folder:
            for name in given.networks:
                kept[name] = measured(name, Path(folder))
                print(table({name: kept[name]}), flush=True)
        text = json.dumps(kept, indent=1, sort_keys=True)
        RESULTS.write_text(text + "\n", encoding="utf-8")
    print(table(kept))


if __name__ == "__main__":
    main()
