"""Quantize the network that the package ships, and count its hits before and after."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.api import quantize
from onnxq.errors import OutputError
from onnxq.pipeline.progress import Progress
from onnxq.runtime.session import Session

MODEL = "digits_mobilenet.onnx"
QUANTIZED = "digits_mobilenet.int8.onnx"
CALIBRATION = "digits_calibration.npz"
REPORT = "report.json"


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration found.

    Attributes:
        accuracy_float, accuracy_quantized: share of the images put in their class, 0 to 1.
        images: how many labelled images were counted; none of them was used for calibration.
        bytes_float, bytes_quantized: sizes of the two files.
        worst: the five layers with the most error, worst first, as in the report's ``layers``.
        files: what was written, by what it is.
        seconds: how long all of it took.
        report: the error report, of the schema ``onnxq-report/1``.
    """

    accuracy_float: float
    accuracy_quantized: float
    images: int
    bytes_float: int
    bytes_quantized: int
    worst: tuple[Mapping[str, Any], ...]
    files: Mapping[str, Path]
    seconds: float
    report: Mapping[str, Any] = field(repr=False)


def run_demo(out: str | PathLike[str], progress: Progress | None = None) -> DemoResult:
    """Quantize a depthwise-separable network for handwritten digits into the folder *out*.

    The network's channels have strongly unequal ranges, which is what makes such networks hard:
    with one scale per weight tensor it fails. *out* is made where it does not exist; files of a
    former demonstration in it are replaced.

    Args:
        out: the folder to write the float model, its calibration data, the quantized model and
            the report into.
        progress: is told how far the work is.

    Raises:
        OutputError: the folder cannot be made or written to.
    """
    start = time.perf_counter()
    folder = Path(out)
    written = {
        "float model": folder / MODEL,
        "calibration data": folder / CALIBRATION,
        "quantized model": folder / QUANTIZED,
        "report": folder / REPORT,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (MODEL, CALIBRATION):
            (folder / name).write_bytes(files("onnxq.demo").joinpath(name).read_bytes())
    except OSError as error:
        raise OutputError(
            f"the demo cannot write to '{folder}'", why=error.strerror or "", hint="another --out"
        ) from error
    result = quantize(folder / MODEL, data=folder / CALIBRATION, progress=progress)
    result.save(written["quantized model"])
    text = json.dumps(result.report, indent=2, ensure_ascii=False)
    written["report"].write_text(text + "\n", encoding="utf-8")
    images, labels = _evaluation()
    return DemoResult(
        accuracy_float=accuracy(written["float model"], images, labels),
        accuracy_quantized=accuracy(written["quantized model"], images, labels),
        images=len(labels),
        bytes_float=written["float model"].stat().st_size,
        bytes_quantized=written["quantized model"].stat().st_size,
        worst=tuple(result.report["layers"][:5]),
        files=written,
        seconds=time.perf_counter() - start,
        report=result.report,
    )


def accuracy(model: Path, images: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Share of *images* [N, C, H, W] whose largest output is that of the class in *labels* [N]."""
    session = Session(model, threads=1)
    (name,) = (i.name for i in session.inputs)
    (logits,) = session.run({name: images}).values()
    return float(np.mean(logits.argmax(axis=1) == labels))


def _evaluation() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """500 images that the network was not trained on, [500, 1, 8, 8], and their classes."""
    with as_file(files("onnxq.demo").joinpath("digits_evaluation.npz")) as path, np.load(path) as a:
        images: NDArray[np.float32] = a["input"]
    with as_file(files("onnxq.demo").joinpath("digits_evaluation_labels.npy")) as path:
        return images, np.load(path)
