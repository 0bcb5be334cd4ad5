"""Weights larger than memory: read, rounded and written tensor after tensor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxq.graph import Model

_PROGRAM = """
import sys
from onnxq.cli.failures import run
code = run(["quantize", sys.argv[1], "-o", sys.argv[2], "--mode", "weights", "--weights", "int4",
            "--block", "32", "--recipe", "fast", "--quiet"])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, peak.split()[1])  # not ru_maxrss, which begins with what the parent had
"""


def generate(folder: Path, layers: int, width: int) -> Path:
    """A chain of *layers* products, its weights in a file that is a hole but for one value each."""
    tensors, nodes, each = [], [], 4 * width * width
    for i in range(layers):
        tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[width, width])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "m.data"), ("offset", i * each), ("length", each)):
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
        nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"], name=f"mm{i}"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
        for name in ("x0", f"x{layers}")
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with (folder / "m.data").open("wb") as stream:
        stream.truncate(layers * each)
        for i in range(layers):
            stream.seek(i * each)
            stream.write(np.float32(i + 1).tobytes())
    return folder / "m.onnx"


def quantize(source: Path) -> tuple[Path, int]:
    """The quantized file, and the peak of resident memory in bytes."""
    out = source.with_name("q.onnx")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(source), str(out)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, peak = done.stdout.split()
    assert code == "0", done.stderr
    return out, int(peak) * 1024


@pytest.mark.parametrize(
    ("layers", "width", "limit"),
    [(8, 2048, 400 << 20), pytest.param(12, 8192, 1500 << 20, marks=pytest.mark.slow)],
)
def test_memory_does_not_grow_with_the_model(
    tmp_path: Path, layers: int, width: int, limit: int
) -> None:
    out, peak = quantize(generate(tmp_path, layers, width))
    assert peak < limit
    tensors = Model.load(out).tensors()
    codes = [tensors[f"w{i}__q"] for i in range(layers)]
    assert all(c.dtype == codes[0].dtype and c.dtype.name == "int4" for c in codes)  # type: ignore[attr-defined]
    first = [np.asarray(tensors[f"w{i}__scale"].values)[0, 0] for i in range(layers)]  # type: ignore[attr-defined]
    np.testing.assert_allclose(first, [-(i + 1) / 8 for i in range(layers)], rtol=1e-6)
    files = [f for f in (out, out.with_name("q.onnx.data")) if f.exists()]
    assert sum(f.stat().st_size for f in files) < 0.17 * 4 * layers * width * width
    onnx.load(out, load_external_data=False)
