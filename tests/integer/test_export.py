"""``onnxq export``: files, manifest, refusals."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq.cli.failures import run as main
from onnxq.export.c import compiler
from onnxq.export.export import export
from onnxq.graph import Model
from onnxq.integer import lower, run
from tests.integer.c_project import needs_cc
from tests.integer.networks import build
from tests.integer.qdq import Qdq


@pytest.fixture
def residual(tmp_path: Path) -> Path:
    onnx.save(build("residual"), tmp_path / "residual.onnx")
    return tmp_path / "residual.onnx"


@needs_cc
def test_c_compiles_as_the_documentation_says(residual: Path, tmp_path: Path) -> None:
    assert main(["export", str(residual), "--to", "c", "-o", str(tmp_path / "c")]) == 0
    sources = sorted(str(p) for p in (tmp_path / "c").glob("*.c"))
    subprocess.run(["cc", "-std=c99", *sources, "-o", str(tmp_path / "net")], check=True)
    done = subprocess.run([tmp_path / "net"], capture_output=True, text=True, check=True)
    assert done.stdout == "40 of 40 values equal\n"


@needs_cc
@pytest.mark.parametrize("tool", ["make", "cmake"])
def test_makefile_and_cmake(residual: Path, tmp_path: Path, tool: str) -> None:
    import shutil

    if shutil.which(tool) is None or shutil.which("make") is None:
        pytest.skip(f"there is no {tool}")
    folder = tmp_path / "c"
    export(Model.load(residual), "c", folder)
    if tool == "cmake":
        subprocess.run(["cmake", "-S", folder, "-B", folder / "b"], check=True, capture_output=True)
        folder = folder / "b"
    subprocess.run(["make", "-C", folder], check=True, capture_output=True)
    done = subprocess.run([folder / "residual"], capture_output=True, text=True, check=True)
    assert done.stdout == "40 of 40 values equal\n"


def test_manifest_is_enough_to_compute_a_layer(residual: Path, tmp_path: Path) -> None:
    code = main(["export", str(residual), "--to", "manifest", "-o", str(tmp_path / "m"), "--quiet"])
    assert code == 0
    folder = tmp_path / "m"
    found = json.loads((folder / "manifest.json").read_text())
    assert [v["dtype"] for v in (*found["inputs"], *found["outputs"])] == ["int8", "int32"]
    assert found["outputs"][0].keys() >= {"name", "dtype", "shape", "scale", "exponent",
                                          "zero_point"}  # fmt: skip
    last = found["layers"][-1]
    x = np.load(folder / found["golden"][last["inputs"][0]["name"]]).astype(np.int64)
    acc = x @ np.load(folder / last["weight"]).T.astype(np.int64) + np.load(folder / last["bias"])
    assert last["shift"] == [0] and last["accumulator_bits"] <= 32 and last["rounding"] == "half-up"
    np.testing.assert_array_equal(acc, np.load(folder / found["golden"][last["output"]["name"]]))


def test_memory_files_hold_the_same_codes(residual: Path, tmp_path: Path) -> None:
    export(Model.load(residual), "manifest", tmp_path / "m")
    files = sorted((tmp_path / "m").rglob("*.npy"))
    assert {f.parent.name for f in files} == {"weights", "golden"}
    for file in files:
        codes = np.load(file).reshape(-1)
        lines = file.with_suffix(".mem").read_text().split()
        assert {len(x) for x in lines} == {codes.itemsize * 2}
        unsigned = np.array([int(x, 16) for x in lines], f"uint{codes.itemsize * 8}")
        np.testing.assert_array_equal(unsigned.view(codes.dtype), codes)
        head, body = file.with_suffix(".coe").read_text().split("vector=\n")
        assert head == "memory_initialization_radix=16;\nmemory_initialization_"
        assert body == ",\n".join(lines) + ";\n"


@needs_cc
def test_the_header_holds_the_same_weights(residual: Path, tmp_path: Path) -> None:
    export(Model.load(residual), "manifest", tmp_path / "m")
    found = json.loads((tmp_path / "m" / "manifest.json").read_text())
    weight = np.load(tmp_path / "m" / found["layers"][-1]["weight"])
    name = f"layer_{len(found['layers']) - 1:03d}_weight"
    program = tmp_path / "sum.c"
    program.write_text(f"""#include "m/weights.h"
int main(void) {{
    int sum = 0;
    for (unsigned i = 0; i < sizeof {name}; i++) sum += {name}[i] * (int)(i % 5);
    return sum != {int((weight.reshape(-1).astype(int) * (np.arange(weight.size) % 5)).sum())};
}}
""")
    subprocess.run(["cc", "-std=c99", program, "-o", tmp_path / "sum"], check=True)
    subprocess.run([tmp_path / "sum"], check=True)


def test_golden_vectors_from_samples(tmp_path: Path) -> None:
    model = Model.load(build("gemm"))
    name = next(iter(lower(model).inputs))
    samples = [{name: np.full((1, 20), float(i), np.float32)} for i in range(5)]
    found = export(model, "manifest", tmp_path / "m", samples=samples, frames=3)
    assert found.frames == 3
    described = json.loads((tmp_path / "m" / "manifest.json").read_text())
    value = found.program.inputs[name]
    codes = np.load(tmp_path / "m" / described["golden"][value])
    assert codes[:, 0].tolist() == [0, 16, 32]
    last = next(iter(found.program.outputs.values()))
    expected = run(found.program, {value: codes})[last]
    np.testing.assert_array_equal(np.load(tmp_path / "m" / described["golden"][last]), expected)


def test_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    m = Qdq()
    onnx.save(m.proto(m.quantize(m.node("Exp", [m.input((4,))]), -7)), tmp_path / "s.onnx")
    code = main(["export", str(tmp_path / "s.onnx"), "--to", "c", "-o", str(tmp_path / "c")])
    assert code == 3 and "Exp" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_an_unknown_format(residual: Path, tmp_path: Path) -> None:
    assert main(["export", str(residual), "--to", "fortran", "-o", str(tmp_path / "c")]) == 2


def test_json(residual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", str(residual), "--to", "c", "-o", str(tmp_path / "c"), "--json"])
    found = json.loads(capsys.readouterr().out)
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    assert found["static_ram_bytes"] == manifest["static_ram_bytes"] > 0
    assert compiler() is None or found["lines"] > 100
