"""What the error report costs, against plain float inference and a loop over the layers.

``python -m tests.bench.report [SAMPLES.npz]`` quantizes the zoo's mobilenetv2 and prints, for all
samples of the archive (the zoo's calibration images where none is given):

- the whole report (isolated errors with their sources, cumulative errors, statistics), and the
  isolated part alone, as multiples of the time of plain float inference on the same samples;
- how much longer a loop that runs the network once per layer takes (on a few samples), and the
  largest difference between its figures and ours;
- how much longer a session for each layer takes than the graph with switches, to tell what each
  layer does to the outputs;
- the peak memory of the whole report with few and with many samples.

Times include the loading of sessions; each is the least of several rounds that take turns. Ratios
are of wall times, and of CPU times, which other work on the machine changes less.
The figures are written to ``tests/bench/report.json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench import sensitivity
from tests.bench.process import run as run_process

HERE = Path(__file__).parent
ROUNDS, LOOP_SAMPLES, FEW = 3, 8, 10


def quantized(archive: Path, held: int) -> Any:
    """mobilenetv2 quantized on *archive*, reported on *held* samples or on all it held out."""
    import onnxq
    from tests.zoo import model

    data = np.load(archive)
    report = {name: data[name][:held] for name in data.files}
    return onnxq.quantize(
        model("mobilenetv2"), data=str(archive), target="x86", recipe="fast",
        report_data=feeds(report), report_detail="full" if held > 1 else "basic",
    )  # fmt: skip


def feeds(data: Any) -> list[dict[str, Any]]:
    """Samples of the arrays *data*, one along the first axis each."""
    count = len(next(iter(data.values())))
    return [{name: data[name][i : i + 1] for name in data} for i in range(count)]


def least(tasks: dict[str, Callable[[], Any]]) -> dict[str, tuple[float, float]]:
    """Least wall time and least CPU time (seconds) of each of *tasks*, which take turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            start = time.perf_counter(), time.process_time()
            task()
            end = time.perf_counter(), time.process_time()
            times[name].append((end[0] - start[0], end[1] - start[1]))
    return {n: (min(w for w, _ in t), min(c for _, c in t)) for n, t in times.items()}


def isolated_alone(result: Any, samples: list[dict[str, Any]]) -> Any:
    """Isolated errors of all layers and nothing else."""
    from onnxq.api.finish import own_matches
    from onnxq.report.isolated import Isolated
    from onnxq.runtime.workers import shares
    from onnxq.threads import in_order

    count, threads = shares(())
    found = Isolated(
        result.original.to_proto(), result.model.to_proto(),
        own_matches(result.original, result.model), samples[0], details=False, threads=threads,
    )  # fmt: skip
    for sums, _ in in_order(lambda feed: found.run(feed, {}), samples, count):
        found.take(sums)
    return found


def compare(archive: Path) -> dict[str, Any]:
    """All figures but memory."""
    from onnxq.api.finish import measured
    from onnxq.runtime.session import Session
    from tests.report.loop import loop

    result = quantized(archive, 1)
    data = np.load(archive)
    samples = feeds({name: data[name] for name in data.files})
    original = result.original.to_proto()

    def plain() -> None:
        session = Session(original)
        for feed in samples:
            session.run(feed)

    def whole() -> None:
        measured(result.original, result.model, result.ctx, samples, (), full=True)

    times = least(
        {"plain": plain, "isolated": lambda: isolated_alone(result, samples), "report": whole}
    )
    others = ("report", "isolated")
    few = samples[:LOOP_SAMPLES]
    start = time.perf_counter()
    expected = loop(result, few)
    middle = time.perf_counter()
    alone = isolated_alone(result, few)
    end = time.perf_counter()
    differences = [
        abs(sums.sqnr_db - ours.sqnr_db)
        for node, sums in expected.items()
        if (ours := alone.layer(node)) is not None and np.isfinite(ours.sqnr_db)
    ]
    return {
        "samples": len(samples),
        "layers": len(expected),
        "plain_seconds": times["plain"][0],
        **{f"{name}_by_plain": times[name][0] / times["plain"][0] for name in others},
        **{f"{name}_by_plain_cpu": times[name][1] / times["plain"][1] for name in others},
        "loop_by_isolated": (middle - start) / (end - middle),
        "loop_samples": LOOP_SAMPLES,
        "largest_difference_db": max(differences),
        "compared_layers": len(differences),
        **sensitivity.compare(result, samples),
    }


def peak(archive: Path, held: int) -> float:
    """Peak memory (MB) of quantizing with a full report on *held* samples, in a fresh process."""
    done = run_process([sys.executable, "-m", "tests.bench.report", archive, str(held)])
    if done.code:
        raise SystemExit(done.errors)
    return done.peak_mb


def main(arguments: list[str]) -> None:
    """Print and write the figures; with a number behind the archive, only make that report."""
    if len(arguments) > 1:
        quantized(Path(arguments[0]), int(arguments[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(arguments[0]) if arguments else calibration(Path(folder))
        many = len(next(iter(np.load(archive).values())))
        # first: a child's peak is at least that of its parent
        peaks = {f"peak_mb_{held}_samples": peak(archive, held) for held in (FEW, many)}
        found = compare(archive) | peaks
    (HERE / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def calibration(folder: Path) -> Path:
    """The zoo's calibration images of mobilenetv2, as an archive in *folder*."""
    from tests.zoo import zoo

    arrays: dict[str, list[Any]] = {}
    for feed in zoo().calibration("mobilenetv2"):
        for name, value in feed.items():
            arrays.setdefault(name, []).append(value)
    path = folder / "mobilenetv2.npz"
    np.savez(path, **{name: np.concatenate(parts) for name, parts in arrays.items()})
    return path


if __name__ == "__main__":
    main(sys.argv[1:])
