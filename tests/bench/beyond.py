"""Networks that are no plain CNNs, in every mode, beside onnxruntime's own tools.

::

    python tests/bench/beyond.py                       # all of them; writes beyond.json
    python tests/bench/beyond.py villes_transformer_d64h8 --no-speed
    python tests/bench/beyond.py gtcrn_simple --only weights     # rows of that name alone, anew
    python tests/bench/beyond.py --table               # prints what beyond.json has
    python tests/bench/beyond.py --readme              # puts it into the README

Accuracy is the zoo's own metric, for voice activity with the mean error of the probability; size is
relative to float, integer is the share of multiply-accumulates on integer kernels, bodies of If and
Loop included, speed is the median over rounds of float's time over the file's, at batch 1 on one
thread, all files of a network taking turns in each round. Every tool is called once, with nothing
tuned to the network.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from compare import entries, machine, required, scored, zoo_program
from peer import samples
from process import Finished, run
from readme import Section

from onnxq.errors import OnnxqError
from onnxq.graph import Model
from onnxq.report.coverage import check

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "beyond.json"
SECTION = Section("modes", "beyond.py")
NETWORKS = (
    "villes_transformer_d64h8", "names_transformer", "shakespeare_rnn", "gtcrn_simple",
    "silero_vad_16k_op15", "silero_vad", "mnist_cntk", "mobilenetv2",
)  # fmt: skip
PEERS = {
    "onnxruntime, dynamic": "dynamic",
    "onnxruntime, dynamic, linear, LSTM and Gather alone, sub-graphs": "linear",
    "onnxruntime, 4-bit MatMul": "nbits",
}
OWN: dict[str, tuple[str, ...]] = {
    "**onnxq, dynamic**": ("--mode", "dynamic"),
    "**onnxq, dynamic, best**": ("--mode", "dynamic", "--recipe", "best"),
    "**onnxq, dynamic, linear and LSTM alone, rest fp16**": ("--mode", "dynamic", "--rest", "fp16"),
    "**onnxq, dynamic, linear alone, rest int16**": ("--mode", "dynamic", "--rest", "int16"),
    "**onnxq, weights int4**": ("--mode", "weights", "--weights", "int4", "--block", "32"),
    "**onnxq, weights int4, best**": (
        "--mode", "weights", "--weights", "int4", "--block", "32", "--recipe", "best",
    ),
    "**onnxq, weights int8**": ("--mode", "weights"),
    "**onnxq, weights int16**": ("--mode", "weights", "--weights", "int16"),
    "**onnxq, static**": (),
    "**onnxq, static, recurrent layers as cells**": ("--recipe", "decompose-recurrent,balanced"),
    "**onnxq, static, 16 bits**": ("--weights", "int16", "--activations", "uint16"),
}  # fmt: skip
RECURRENT = ("shakespeare_rnn", "gtcrn_simple", "silero_vad_16k_op15", "silero_vad")
ONLY = {
    "**onnxq, static, recurrent layers as cells**": RECURRENT,
    "**onnxq, static, 16 bits**": ("gtcrn_simple",),
    "**onnxq, dynamic, linear alone, rest int16**": ("mnist_cntk", "mobilenetv2"),
}
"""Rows that say something of some networks alone."""
ROWS = (*PEERS, *OWN)
ORDER = sorted(
    ROWS,
    key=lambda t: next(
        (i for i, kind in enumerate(("dynamic", "4", "weights", "static")) if kind in t), 0
    ),
)  # each mode beside what it competes with
DATA = ("best", "static")
"""Rows whose command is given samples."""


def make(title: str, model: Path, data: Path, out: Path) -> Finished:
    """Run the tool *title* on *model*."""
    if title in PEERS:
        return run([sys.executable, HERE / "peer_beyond.py", model, out, PEERS[title]])
    needs = any(word in title for word in DATA)
    given: tuple[str | Path, ...] = ("--data", data) if needs else ()
    command = [sys.executable, "-m", "onnxq", "quantize", model, "-o", out, "--quiet"]
    return run([*command, *given, *OWN[title]])


def integer_share(out: Path, data: Path) -> float | None:
    """Percentage of multiply-accumulates on integers in a run on the first sample of *data*."""
    try:
        share = check(Model.load(out), feed=next(samples(out, data))).macs_percent
    except OnnxqError:
        return None
    return None if share is None else round(share, 1)


def probability_error(name: str, out: Path) -> float:
    """Mean distance of the first output of *out* from float's, each on its own states."""
    sys.path.insert(0, str(zoo_program().parent))
    import zoo

    of = zoo.entry(name)
    task, real, other = zoo._task(of), zoo.Session(of, of.model), zoo.Session(of, out)
    distances = []
    for sample in task.evaluation(None):
        pair = [task.scored(sample, s.run(s.feed(sample))) for s in (real, other)]
        one, two = (next(iter(outputs.values())) for outputs in pair)
        distances.append(float(abs(one - two).mean()))
    return round(sum(distances) / len(distances), 4)


def measured(
    name: str, folder: Path, speed: bool, only: str, known: list[dict[str, Any]]
) -> dict[str, Any]:
    """Every tool on the network *name*; rows *known* whose name lacks *only* stay as they are."""
    entry = entries()[name]
    model = zoo_program().parent / entry["model"]
    data = folder / f"{name}.npz"
    required(run([sys.executable, zoo_program(), "calib", name, data]))
    kept = {row["made_by"]: row for row in known if only not in row["made_by"]} if only else {}
    rows: list[dict[str, Any]] = []
    files: dict[str, Path] = {}
    for number, title in enumerate(ORDER):
        if name not in ONLY.get(title, (name,)) or (only and only not in title):
            rows += [kept[title]] if title in kept else []
            continue
        out = folder / f"{name}.{number}.onnx"
        ended = make(title, model, data, out)
        row: dict[str, Any] = {"made_by": title}
        row |= {"error": ended.reason.replace(str(folder), "")} if ended.code else scored(name, out)
        if "error" not in row:
            row["size"] = round(out.stat().st_size / model.stat().st_size, 3)
            row["integer"] = integer_share(out, data)
            if entry["metric"] == "same_decision":
                row["distance"] = probability_error(name, out)
            files[title] = out
        rows.append(row)
    if speed and files:
        command = [sys.executable, HERE / "speed.py", data, model, *files.values()]
        timed = json.loads(required(run(command)).output)
        for row in rows:
            if row["made_by"] in files:
                row["speed"] = round(timed[str(files[row["made_by"]])]["speed"], 2)
    return {"metric": entry["metric"], "float": entry["fp32_metric"], "rows": rows}


def table(found: dict[str, Any]) -> str:
    """*found* as Markdown; perplexity where the metric is the mean log likelihood."""
    timed = any("speed" in row for network in found.values() for row in network["rows"])
    lines = [
        "| network | made by | metric | SQNR dB | size | integer % |",
        "| --- | --- | --: | --: | --: | --: |",
    ]
    if timed:
        lines = [f"{line} {cell} |" for line, cell in zip(lines, ("speed", "--:"), strict=True)]
    for name, network in found.items():
        language = network["metric"] == "nll"
        kind = "perplexity" if language else network["metric"]
        rest = " 1 |" if timed else ""
        kind += ", mean error" if kind == "same_decision" else ""
        value = _metric(network["float"], language)
        lines.append(f"| **{name}** | float, {kind} | {value} | | 1 | |{rest}")
        for row in network["rows"]:
            cells = ["fails", "", "", "", ""]
            if "error" not in row:
                cells = [
                    _metric(row["metric"], language)
                    + (f", {row['distance']:.4f}" if "distance" in row else ""),
                    _number(row.get("sqnr_db"), 1),
                    _number(row["size"], 3), _number(row.get("integer"), 0),
                    _number(row.get("speed"), 2),
                ]  # fmt: skip
            shown = " | ".join(cells if timed else cells[:-1])
            lines.append(f"| | {row['made_by']} | {shown} |")
    return "\n".join(lines)


def _metric(value: float | None, language: bool) -> str:
    if value is None:
        return ""
    return f"{math.exp(value):.3f}" if language else f"{value:.4g}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--table", action="store_true", help="print what there is")
    parser.add_argument("--readme", action="store_true", help="write it into the README")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with this in their name")
    parser.add_argument("--no-speed", action="store_true", help="the machine is not quiet")
    given = parser.parse_args()
    kept: dict[str, Any] = {"networks": {}}
    if RESULTS.is_file():
        kept = json.loads(RESULTS.read_text(encoding="utf-8"))
    for name in () if given.table or given.readme else given.networks:
        with tempfile.TemporaryDirectory() as folder:
            known = kept["networks"].get(name, {}).get("rows", [])
            kept["networks"][name] = measured(
                name, Path(folder), not given.no_speed, given.only, known
            )
        print(table({name: kept["networks"][name]}), flush=True)
        order = [n for n in NETWORKS if n in kept["networks"]]
        kept = {"machine": machine(), "networks": {n: kept["networks"][n] for n in order}}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if given.table:
        print(table(kept["networks"]))
    if given.readme:
        SECTION.write(table(kept["networks"]))


if __name__ == "__main__":
    main()
