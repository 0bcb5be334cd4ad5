"""Peak of resident memory of mode weights on a generated model that is larger than memory allows.

::

    python tests/bench/memory.py                        # 3 GB of weights, every method
    python tests/bench/memory.py --gb 1.2 --width 2048 rtn gptq

Each method is a process of its own. The model, layers of MatMul and LayerNormalization with random
weights, is made in a temporary folder (as many bytes again for the result) and removed at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from process import run

METHODS = ("rtn", "mse", "hqq", "gptq", "awq", "awq+gptq")
ON_DATA = ("gptq", "awq", "awq+gptq")
SAMPLES, ROWS = 12, 64


def generate(folder: Path, size: float, width: int) -> tuple[Path, Path]:
    """A model of *size* bytes of weights in external data, and samples for it."""
    rng, each = np.random.default_rng(0), 4 * width * width
    layers = max(int(size / each), 1)
    nodes, tensors = [], []
    with (folder / "m.data").open("wb") as stream:
        for i in range(layers):
            weight = (rng.standard_normal((width, width), np.float32) / np.sqrt(width)).astype(
                "<f4"
            )
            weight.tofile(stream)
            w = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[width, width])
            w.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "m.data"), ("offset", i * each), ("length", each)):
                w.external_data.add(key=key, value=str(value))
            gain = np.exp(rng.normal(size=width)).astype(np.float32)
            tensors += [w, numpy_helper.from_array(gain, f"g{i}")]
            nodes += [
                helper.make_node("LayerNormalization", [f"x{i}", f"g{i}"], [f"n{i}"], f"norm{i}"),
                helper.make_node("MatMul", [f"n{i}", f"w{i}"], [f"p{i}"], f"mm{i}"),
                helper.make_node("Add", [f"p{i}", f"x{i}"], [f"x{i + 1}"], f"add{i}"),
            ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width])
        for name in ("x0", f"x{layers}")
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "data.npz", x0=rng.standard_normal((SAMPLES, ROWS, width), np.float32))
    onnx.checker.check_model(folder / "m.onnx")
    return folder / "m.onnx", folder / "data.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("methods", nargs="*", default=METHODS, metavar="METHOD")
    parser.add_argument("--gb", type=float, default=3.0, help="weights, in 10^9 bytes")
    parser.add_argument("--width", type=int, default=4096, help="of each layer")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, data = generate(folder, given.gb * 1e9, given.width)
        stored = (folder / "m.data").stat().st_size
        print(f"{stored / 1e9:.2f} GB of weights, layers of {given.width} x {given.width}")
        for method in given.methods:
            command = [
                sys.executable, "-m", "onnxq", "quantize", model, "-o", folder / "q.onnx", "--mode",
                "weights", "--weights", "int4", "--block", "32", "--weight-method", method,
                "--quiet", *(["--data", data] if method in ON_DATA else []),
            ]  # fmt: skip
            ended = run(command)
            said = ended.reason if ended.code else f"peak {ended.peak_mb:.0f} MB"
            print(f"{method}: {said}, {ended.seconds:.0f} s", flush=True)
            for made in folder.glob("q.onnx*"):
                made.unlink()


if __name__ == "__main__":
    main()
