"""onnxruntime's dynamic quantizer, as its users run it: pre-processing, then ``quantize_dynamic``.

``python peer_dynamic.py MODEL OUT SETTING``; run as a process of its own by ``dynamic.py``.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "per-channel": {"per_channel": True},
    "linear": {
        "per_channel": True, "weight_type": QuantType.QInt8,
        "op_types_to_quantize": ["MatMul", "Gemm", "LSTM", "Gather"],
        "extra_options": {"EnableSubgraph": True},
    },
}  # fmt: skip


def main(model: Path, out: Path, setting: str) -> None:
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        quantize_dynamic(str(prepared), str(out), **SETTINGS[setting])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
