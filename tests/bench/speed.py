"""Latency and kernels of several copies of one network, side by side in one process.

``python speed.py CALIBRATION.npz FLOAT.onnx OTHER.onnx ...`` prints JSON: by file the median
milliseconds at batch 1 on one thread (the models take turns, so that what else the machine does
meets all of them), how many times as fast as the first it is (the median of the ratios within
rounds), and what ONNX Runtime made of its operators. ``--threads N`` takes more threads.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from peer import samples

RUNS, WARM_UP = 150, 10
HEAVY = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "Add", "Concat")
INTEGER = ("QLinear", "QGemm", "ConvInteger", "MatMulInteger", "DynamicQuantize", "QAttention")


def options(threads: int = 1) -> ort.SessionOptions:
    """All optimizations."""
    made = ort.SessionOptions()
    made.intra_op_num_threads, made.inter_op_num_threads = threads, 1
    made.log_severity_level = 3
    return made


def kernels(model: Path) -> dict[str, int]:
    """Operators of the optimized graph: how many run on integers, how many heavy ones do not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        made = options()
        made.optimized_model_filepath = str(path)
        ort.InferenceSession(str(model), made, providers=["CPUExecutionProvider"])
        found = Counter(node.op_type for node in onnx.load(path).graph.node)
    integer = sum(n for op, n in found.items() if op.startswith(INTEGER))
    return {"integer": integer, "float": sum(found[op] for op in HEAVY)}


def latencies(archive: Path, models: list[Path], threads: int = 1) -> np.ndarray:
    """Milliseconds, [models, rounds], of *models* taking turns on the first sample."""
    feed = next(samples(models[0], archive))
    sessions = [
        ort.InferenceSession(str(m), options(threads), providers=["CPUExecutionProvider"])
        for m in models
    ]
    times: list[list[float]] = [[] for _ in models]
    order = [*range(len(models))]
    shuffle = random.Random(0).shuffle
    for turn in range(WARM_UP + RUNS):
        shuffle(order)  # a model finds the caches as the one before it left them
        for i in order:
            session, kept = sessions[i], times[i]
            start = time.perf_counter()
            session.run(None, feed)
            if turn >= WARM_UP:
                kept.append(1e3 * (time.perf_counter() - start))
    return np.array(times)


def main(archive: Path, models: list[Path], threads: int) -> None:
    result: dict[str, Any] = {}
    times = latencies(archive, models, threads)
    for model, took in zip(models, times, strict=True):
        speed = float(np.median(times[0] / took))
        result[str(model)] = {"ms": float(np.median(took)), "speed": speed, **kernels(model)}
    print(json.dumps(result))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("archive", type=Path)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    main(given.archive, given.models, given.threads)
