"""Compare onnxq with onnxruntime's own quantizer on networks of the zoo; writes ``results.json``.

::

    python tests/bench/compare.py squeezenet1.1 mobilenetv2     # some networks
    python tests/bench/compare.py --all                         # the whole zoo
    python tests/bench/compare.py --memory squeezenet1.1        # 32 against 1,024 samples

Every quantizer runs as a process of its own, on the zoo's calibration set, with one command and
nothing tuned to the network. Networks not named keep what ``results.json`` has of them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from process import Finished, run

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
PACKAGES = ("onnxq", "onnx", "onnxruntime", "numpy")
ONNXQ = Path(sys.executable).with_name("onnxq")


@dataclass(frozen=True)
class Setting:
    """A quantizer and how it is called; the median of *repeat* runs counts."""

    tool: str
    name: str
    arguments: tuple[str, ...]
    repeat: int = 3

    def command(self, model: Path, data: Path, out: Path) -> list[str | Path]:
        if self.tool == "onnxruntime":
            return [sys.executable, HERE / "peer.py", model, data, out, *self.arguments]
        return [ONNXQ, "quantize", model, "--data", data, "-o", out, *self.arguments]


SETTINGS = (
    Setting("onnxruntime", "S8S8 per tensor (its default)", ("default",)),
    Setting("onnxruntime", "U8S8 per channel, reduced range", ("u8s8",)),
    Setting("onnxruntime", "the same, entropy", ("u8s8-entropy",), repeat=1),
    Setting("onnxq", "fast", ("--recipe", "fast", "--target", "x86")),
    Setting(
        "onnxq", "fast, entropy",
        ("--recipe", "fast", "--calibration", "entropy", "--target", "x86"),
    ),
    Setting("onnxq", "balanced", ("--recipe", "balanced", "--target", "x86")),
    Setting("onnxq", "best", ("--recipe", "best", "--target", "x86"), repeat=1),
)  # fmt: skip
RECIPES = ("fast", "balanced")


def zoo_program() -> Path:
    """``zoo.py`` of the zoo: $ONNXQ_ZOO, or ``../shared/zoo`` beside the checkout."""
    beside = HERE.parents[2] / "shared" / "zoo"
    path = Path(os.environ.get("ONNXQ_ZOO") or beside) / "zoo.py"
    if not path.is_file():
        sys.exit(f"{path} does not exist; set ONNXQ_ZOO to the folder of the zoo")
    return path


def entries() -> dict[str, dict[str, Any]]:
    """The zoo's table by name."""
    rows = json.loads((zoo_program().parent / "zoo.json").read_text(encoding="utf-8"))
    return {row["name"]: row for row in rows}


def required(finished: Finished) -> Finished:
    """*finished*, or the end of the program where it failed."""
    if finished.code:
        sys.exit(f"failed: {finished.reason}")
    return finished


def compare(name: str, folder: Path) -> dict[str, Any]:
    """All settings on the network *name*."""
    entry = entries()[name]
    model = zoo_program().parent / entry["model"]
    data = folder / f"{name}.npz"
    required(run([sys.executable, zoo_program(), "calib", name, data]))
    outs = [folder / f"{name}.{number}.onnx" for number in range(len(SETTINGS))]
    rows, files = [], [model]
    made = in_turns(SETTINGS, model, data, outs)
    for setting, out, runs in zip(SETTINGS, outs, made, strict=True):
        row = {"tool": setting.tool, "setting": setting.name} | measured(runs, model, out)
        if "error" not in row:
            row |= scored(name, out)
        if "error" in row:
            row["error"] = row["error"].replace(f"{folder}{os.sep}", "")
        else:
            files.append(out)
        rows.append(row)
        print(f"{name}: {json.dumps(row)}", flush=True)
    timed = json.loads(required(run([sys.executable, HERE / "speed.py", data, *files])).output)
    for row, out in zip(rows, outs, strict=True):
        found = timed.get(str(out))
        if found is not None:
            row["speed"] = round(timed[str(model)]["ms"] / found["ms"], 3)
            row["kernels"] = {"integer": found["integer"], "float": found["float"]}
    return {
        "metric": entry["metric"], "higher_is_better": entry["higher_is_better"],
        "float": entry["fp32_metric"], "float_ms": round(timed[str(model)]["ms"], 3),
        "float_bytes": model.stat().st_size, "rows": rows,
    }  # fmt: skip


def in_turns(
    settings: Sequence[Setting], model: Path, data: Path, outs: Sequence[Path]
) -> list[list[Finished]]:
    """The runs of each setting; settings take turns, so that a busy machine meets all of them."""
    runs: list[list[Finished]] = [[] for _ in settings]
    for turn in range(max(setting.repeat for setting in settings)):
        for setting, out, done in zip(settings, outs, runs, strict=True):
            if turn < setting.repeat and not any(r.code for r in done):
                done.append(run(setting.command(model, data, out)))
    return runs


def measured(runs: list[Finished], model: Path, out: Path) -> dict[str, Any]:
    """Seconds, memory and size of one setting; the error where it has none."""
    for failed in (r for r in runs if r.code):
        return {"error": failed.reason}
    return {
        "seconds": round(statistics.median(r.seconds for r in runs), 2),
        "cpu_seconds": round(statistics.median(r.cpu_seconds for r in runs), 2),
        "peak_mb": round(statistics.median(r.peak_mb for r in runs)),
        "bytes": out.stat().st_size,
        "size": round(out.stat().st_size / model.stat().st_size, 4),
    }


def scored(name: str, out: Path) -> dict[str, Any]:
    """What the zoo says about the quantized copy; an SQNR of None means that it is exact."""
    finished = run([sys.executable, zoo_program(), "eval", name, out, "--json"])
    if finished.code:
        return {"error": f"written, but does not run: {finished.reason}"}
    result = json.loads(finished.output)
    kept = {key: result[key] for key in ("metric", "sqnr_db", "agree") if key in result}
    return {k: round(v, 4) if math.isfinite(v) else None for k, v in kept.items()}


def memory(name: str, folder: Path) -> list[dict[str, Any]]:
    """Peak memory of both recipes with 32 and with 1,024 samples of *name*."""
    model = zoo_program().parent / entries()[name]["model"]
    small = folder / "small.npz"
    required(run([sys.executable, zoo_program(), "calib", name, small]))
    found: list[dict[str, Any]] = []
    for n in (32, 1024):
        data = folder / f"{n}.npz"
        required(run([sys.executable, HERE / "stretch.py", small, data, str(n)]))
        for setting in (s for s in SETTINGS if s.name in RECIPES):
            out = folder / "memory.onnx"
            measured = required(run(setting.command(model, data, out)))
            found.append({
                "network": name, "recipe": setting.name, "samples": n,
                "peak_mb": round(measured.peak_mb), "seconds": round(measured.seconds, 2),
            })  # fmt: skip
            print(json.dumps(found[-1]), flush=True)
        data.unlink()
    return found


def machine() -> dict[str, Any]:
    """Where this was measured."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        cpu = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), cpu)
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--all", action="store_true", help="every network of the zoo")
    parser.add_argument("--memory", metavar="NETWORK", help="memory at 32 and 1,024 samples")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    result: dict[str, Any] = {"networks": {}, "memory": []}
    if given.out.is_file():
        result = json.loads(given.out.read_text(encoding="utf-8"))
    names = list(entries()) if given.all else given.networks
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            result["networks"][name] = compare(name, Path(folder))
        if given.memory:
            result["memory"] = memory(given.memory, Path(folder))
    result |= {
        "schema": "onnxq-bench/1",
        "machine": machine(),
        "versions": {package: version(package) for package in PACKAGES},
    }
    order = [name for name in entries() if name in result["networks"]]
    result["networks"] = {name: result["networks"][name] for name in order}
    given.out.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
