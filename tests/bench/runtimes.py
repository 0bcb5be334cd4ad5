"""The same quantized files in several runtimes: accuracy and speed; writes ``runtimes.json``.

::

    python tests/bench/runtimes.py --python ~/openvino/bin/python --python ~/provider/bin/python
    python tests/bench/runtimes.py mobilenetv2 --limit 50    # one network, fewer samples
    python tests/bench/runtimes.py --files FOLDER --speed    # times again what FOLDER has
    python tests/bench/runtimes_table.py                     # writes the table into the README

Runtimes are looked for in this environment and in those of ``--python``: OpenVINO may be in any,
onnxruntime-openvino needs one of its own, since it replaces onnxruntime. Each file is a process
in each runtime; all of them take turns on one thread, so that what else the machine does meets all.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from compare import entries, machine, required, zoo_program
from process import run
from runtimes_table import TITLES, table

HERE = Path(__file__).resolve().parent
WORKER = HERE / "runtime_worker.py"
RESULTS = HERE / "runtimes.json"
NETWORKS = ("squeezenet1.1", "mobilenetv2", "cifar_resnet20", "yolox_nano")
TARGETS = ("x86", "openvino", "generic")
SLOW = "onnx reference"
FEW, WARM_UP, RUNS = 2, 3, 30
"""Samples of the reference evaluator; runs of each file that are not counted, and counted."""

QUICKEST = 5
"""Of this many runs one is faster than what counts: what else the machine does only ever adds."""


class Worker:
    """A model in a runtime, in a process of its own.

    Attributes:
        error: why it cannot be run, in the runtime's words; empty where it can.
    """

    def __init__(self, python: str, runtime: str, model: Path, threads: int = 1) -> None:
        self._process = subprocess.Popen(
            [python, str(WORKER), runtime, str(model), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdin and self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        self.error = shortened(self._answer() or "")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._in.close()
        self._process.wait()

    def _answer(self) -> Any:
        try:
            return pickle.load(self._out)
        except EOFError:
            return "the process ended"

    def run(self, feed: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], float]:
        """Outputs for *feed*, and the seconds that it took.

        Raises:
            RuntimeError: the runtime refuses it.
        """
        pickle.dump(dict(feed), self._in)
        self._in.flush()
        found = self._answer()
        if isinstance(found, str):
            raise RuntimeError(shortened(found))
        return found


def shortened(error: str) -> str:
    """What a runtime says, without where in its sources."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Exception from", "["))]
    return (said or lines or [""])[-1][:200]


def environments(pythons: list[str]) -> dict[str, tuple[str, str]]:
    """By runtime: the first interpreter that has it, and the version there."""
    found: dict[str, tuple[str, str]] = {}
    for python in (sys.executable, *pythons):
        listed = json.loads(required(run([python, WORKER, "list"])).output.splitlines()[-1])
        for runtime, version in listed.items():
            found.setdefault(runtime, (python, version))
    return {name: found[name] for name in TITLES if name in found}


def made(name: str, folder: Path) -> dict[str, Path]:
    """The float file of the network *name*, and what onnxq makes of it for each target."""
    model = zoo_program().parent / entries()[name]["model"]
    data = folder / f"{name}.npz"
    files = {"float": model}
    for target in TARGETS:
        files[target] = folder / f"{name}.{target}.onnx"
        if files[target].is_file():
            continue
        if not data.is_file():
            required(run([sys.executable, zoo_program(), "calib", name, data]))
        required(run([
            sys.executable, "-m", "onnxq", "quantize", model, "--data", data, "-o", files[target],
            "--target", target, "--quiet",
        ]))  # fmt: skip
    return files


def measured(
    name: str,
    files: Mapping[str, Path],
    pythons: Mapping[str, tuple[str, str]],
    limit: int | None,
    before: Mapping[str, Any],
    *,
    score: bool,
) -> dict[str, Any]:
    """Every file of the network *name* in every runtime; what it scores is from *before* or new."""
    with ExitStack() as stack:
        workers = {
            (file, runtime): stack.enter_context(Worker(python, runtime, path))
            for file, path in files.items()
            for runtime, (python, _) in pythons.items()
            if (file, runtime) != ("float", SLOW)
        }
        running = {key: worker for key, worker in workers.items() if not worker.error}
        rows = {key: {"error": w.error} for key, w in workers.items() if w.error}
        if score:
            scores, samples = scored(name, running, limit)
        else:
            known, samples = before["files"], before["samples"]
            scores = {key: dict(known[key[0]][key[1]]) for key in running}
        rows |= scores
        quick = {k: w for k, w in running.items() if k[1] != SLOW and "error" not in rows[k]}
        for key, milliseconds in timed(name, quick).items():
            rows[key]["ms"] = round(milliseconds, 3)
    found: dict[str, Any] = {
        "metric": entries()[name]["metric"], "samples": samples, "files": {},
    }  # fmt: skip
    for file, runtime in workers:
        row, base = rows[file, runtime], rows.get(("float", runtime), {}).get("ms")
        if base and "ms" in row:
            row["speed"] = round(base / row["ms"], 3)
        found["files"].setdefault(file, {})[runtime] = row
    return found


Key = tuple[str, str]


def scored(
    name: str, workers: Mapping[Key, Worker], limit: int | None
) -> tuple[dict[Key, dict[str, Any]], int]:
    """The zoo's metric and the SQNR, against the float file in ONNX Runtime; and of how many."""
    zoo, task = _task(name)
    scores = {key: (task.score(), zoo.Noise()) for key in workers}
    errors: dict[Key, str] = {}
    samples = 0
    for number, sample in enumerate(task.evaluation(limit)):
        samples += sample.size
        floating = _outputs(workers["float", "onnxruntime"], sample)
        reference = task.scored(sample, floating)
        for key, worker in workers.items():
            if key in errors or (key[1] == SLOW and number >= FEW):
                continue
            try:
                outputs = task.scored(sample, _outputs(worker, sample))
            except RuntimeError as error:
                errors[key] = str(error)
                continue
            score, noise = scores[key]
            score.add(sample, outputs, reference)
            noise.add(outputs, reference)
    rows: dict[Key, dict[str, Any]] = {}
    for key, (score, noise) in scores.items():
        if key in errors:
            rows[key] = {"error": errors[key]}
            continue
        decibels = float(np.mean([*noise.result().values()]))
        rows[key] = {"sqnr_db": round(decibels, 2) if math.isfinite(decibels) else None}
        if key[1] != SLOW:
            rows[key]["metric"] = round(next(iter(score.result().values())), 3)
    return rows, samples


def _task(name: str) -> tuple[Any, Any]:
    sys.path.insert(0, str(zoo_program().parent))
    import zoo

    return zoo, zoo.TASKS[zoo.entry(name).task](zoo.entry(name))


def _outputs(worker: Worker, sample: Any) -> dict[str, np.ndarray]:
    """Outputs for *sample*, one image after the other."""
    count = len(next(iter(sample.inputs.values())))
    parts = [
        worker.run({k: v[i : i + 1] for k, v in sample.inputs.items()})[0] for i in range(count)
    ]
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def timed(name: str, workers: Mapping[Key, Worker]) -> dict[Key, float]:
    """Milliseconds of each file in each runtime, all of them taking turns on one sample."""
    _, task = _task(name)
    feed = {k: v[:1] for k, v in next(_first(task)).inputs.items()}
    times: dict[Key, list[float]] = {key: [] for key in workers}
    order = list(workers)
    shuffle = random.Random(0).shuffle
    for turn in range(WARM_UP + RUNS):
        shuffle(order)
        for key in order:
            workers[key].run(feed)  # its memory may be that of another process by now
            _, seconds = workers[key].run(feed)
            if turn >= WARM_UP:
                times[key].append(1e3 * seconds)
    return {key: statistics.quantiles(found, n=QUICKEST)[0] for key, found in times.items()}


def _first(task: Any) -> Iterator[Any]:
    return iter(task.evaluation(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--python", action="append", default=[], metavar="INTERPRETER")
    parser.add_argument("--limit", type=int, help="fewer samples")
    parser.add_argument("--files", type=Path, help="folder for quantized files, reused if there")
    parser.add_argument("--speed", action="store_true", help="measure speed alone")
    given = parser.parse_args()
    kept: dict[str, Any] = {"networks": {}}
    if RESULTS.is_file():
        kept = json.loads(RESULTS.read_text(encoding="utf-8"))
    pythons = environments(given.python)
    for name in given.networks:
        with tempfile.TemporaryDirectory() as folder:
            files = made(name, given.files or Path(folder))
            found = measured(
                name, files, pythons, given.limit, kept["networks"].get(name, {}),
                score=not given.speed,
            )  # fmt: skip
        networks = kept["networks"] | {name: found}
        kept = {
            "schema": "onnxq-runtimes/1", "machine": machine(),
            "runtimes": {runtime: version for runtime, (_, version) in pythons.items()},
            "networks": {n: networks[n] for n in NETWORKS if n in networks},
        }  # fmt: skip
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(table(kept | {"networks": {name: found}}), flush=True)


if __name__ == "__main__":
    main()
