"""The generated C against ONNX Runtime, each on one core, taking turns in one process.

``python c_speed.py FLOAT.onnx CALIBRATION.npz [FLAG ...]`` prints JSON: median time in ms of the C
(compiled with the flags, ``-O3`` where there are none), of ONNX Runtime on the very model that was
exported, and on the model for this machine's CPU; and the medians of the ratios within a turn. It
counts the CPU time of the thread, so that what else the machine does matters less.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from peer import samples
from speed import options

import onnxq
from onnxq.export.export import export
from onnxq.graph import Model
from onnxq.integer import encode

RUNS, WARM_UP = 40, 3


def compiled(folder: Path, flags: list[str]) -> ctypes.CDLL:
    """The C project in *folder* as a library."""
    sources = [str(f) for f in folder.glob("*.c") if f.name != "main.c"]
    library = folder / "model.so"
    subprocess.run(["cc", "-std=c99", *flags, "-shared", "-fPIC", "-o", library, *sources],
                   check=True)  # fmt: skip
    return ctypes.CDLL(str(library))


def runs(model: Path, feed: dict[str, Any]) -> Callable[[], object]:
    """A call that runs *model* in ONNX Runtime."""
    session = ort.InferenceSession(str(model), options(), providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feed)


def main(network: Path, archive: Path, flags: list[str]) -> dict[str, Any]:
    """Figures of *network*, calibrated on *archive*."""
    feed = next(samples(network, archive))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for target in ("fpga-pow2", "auto"):
            made = onnxq.quantize(network, data=str(archive), target=target, recipe="fast")
            made.save(folder / f"{target}.onnx")
        found = export(Model.load(folder / "fpga-pow2.onnx"), "c", folder / "c", frames=1)
        program = found.program
        assert program is not None
        library = compiled(folder / "c", flags)
        codes = [encode(program.values[v], feed[n]) for n, v in program.inputs.items()]
        values = [program.values[v] for v in program.outputs.values()]
        results = [np.empty(v.shape, v.dtype) for v in values]
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (*codes, *results)]
        calls: dict[str, Callable[[], object]] = {
            "c": lambda: library.model_run(*pointers),
            "same_model": runs(folder / "fpga-pow2.onnx", feed),
            "cpu_model": runs(folder / "auto.onnx", feed),
        }
        times: dict[str, list[float]] = {key: [] for key in calls}
        for turn in range(WARM_UP + RUNS):
            for key, call in calls.items():
                start = time.thread_time()
                call()
                if turn >= WARM_UP:
                    times[key].append(1e3 * (time.thread_time() - start))
    return {
        "network": network.stem,
        "flags": flags,
        "ms": {key: statistics.median(t) for key, t in times.items()},
        "ratio": {
            key: statistics.median(a / b for a, b in zip(times["c"], times[key], strict=True))
            for key in ("same_model", "cpu_model")
        },
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or ["-O3"])))
