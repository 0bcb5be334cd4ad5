"""onnxruntime's dynamic and 4-bit quantizers, as their users run them, after pre-processing.

``python peer_beyond.py MODEL OUT SETTING``; run as a process of its own by ``beyond.py``.
The 4-bit quantizer needs the package onnx-ir, which onnxruntime does not bring along.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

SETTINGS: dict[str, dict[str, Any]] = {
    "dynamic": {},
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
        if setting == "nbits":
            # it needs the package onnx-ir
            from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

            quantizer = MatMulNBitsQuantizer(onnx.load(prepared), block_size=32, is_symmetric=True)
            quantizer.process()
            quantizer.model.save_model_to_file(str(out))
            return
        quantize_dynamic(str(prepared), str(out), **SETTINGS[setting])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
