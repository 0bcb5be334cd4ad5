"""onnxruntime's own quantizer, as its users run it: pre-processing, then ``quantize_static``.

``python peer.py MODEL CALIBRATION.npz OUT SETTING``; run as a process of its own by ``compare.py``.
Symbolic shape inference is skipped, which only saves it time: it needs a package more, and the
zoo's networks quantize the same without.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

U8S8: dict[str, Any] = {
    "activation_type": QuantType.QUInt8,
    "weight_type": QuantType.QInt8,
    "per_channel": True,
    "reduce_range": True,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "u8s8": U8S8,
    "u8s8-percentile": U8S8 | {"calibrate_method": CalibrationMethod.Percentile},
    "u8s8-entropy": U8S8 | {"calibrate_method": CalibrationMethod.Entropy},
}


def samples(model: Path, archive: Path) -> Iterator[dict[str, np.ndarray]]:
    """The feeds of *archive*: arrays of the input's rank are cut as a[i:i+1], others as a[i]."""
    graph = onnx.load(model, load_external_data=False).graph
    ranks = {i.name: len(i.type.tensor_type.shape.dim) for i in graph.input}
    with np.load(archive) as found:
        arrays = {key: found[key] for key in found.files}
    for i in range(len(next(iter(arrays.values())))):
        yield {
            k: a[i : i + 1] if a.ndim == ranks[k] else np.asarray(a[i]) for k, a in arrays.items()
        }


class Reader(CalibrationDataReader):
    """Hands the samples over one by one."""

    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def main(model: Path, archive: Path, out: Path, setting: str) -> None:
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        reader = Reader(samples(model, archive))
        quantize_static(str(prepared), str(out), reader, **SETTINGS[setting])


if __name__ == "__main__":
    main(*(Path(a) for a in sys.argv[1:4]), setting=sys.argv[4])
