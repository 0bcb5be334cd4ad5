"""Scales for other tools: what is written is read back, and gives the same scales."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxq
from onnxq.cli.failures import run as main
from onnxq.errors import OptionError
from onnxq.pipeline import Recipe
from onnxq.quant.encodings import read_encodings
from onnxq.runtime.session import Session

MODELS = Path(__file__).resolve().parents[2] / "models"
FLOAT, DATA = MODELS / "digits_resnet.onnx", str(MODELS / "digits_calibration.npz")
FEED = {"input": np.load(MODELS / "digits_evaluation.npz")["input"][:20]}
UNNAMED = ",".join(str(Recipe((p,))) for p in Recipe.resolve("fast").passes)
"""The passes of ``fast`` alone: to a recipe with a name a target without floating point adds the
correction of biases, which those that were exported have already."""


def quantized(
    source: Path, path: Path, target: str, recipe: str = "fast", **options: object
) -> onnxq.Result:
    made = onnxq.quantize(source, data=DATA, target=target, recipe=recipe, **options)
    made.save(path)
    return made


def grids(path: Path) -> set[tuple[bytes, bytes]]:
    """Scales and zero points of everything but biases."""
    proto = onnx.load(path)
    given = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    pairs = [(given[n.input[1]], given[n.input[2]]) for n in proto.graph.node
             if n.op_type == "DequantizeLinear"]  # fmt: skip
    return {(s.tobytes(), z.tobytes()) for s, z in pairs if z.dtype != np.int32}


@pytest.mark.parametrize(
    ("to", "target"),
    [("aimet", "generic"), ("aimet", "x86"), ("ppq", "generic"), ("ppq", "fpga-pow2")],
)
def test_scales_come_back(to: str, target: str, tmp_path: Path) -> None:
    quantized(FLOAT, tmp_path / "q.onnx", target)
    assert main(["export", str(tmp_path / "q.onnx"), "--to", to, "-o", str(tmp_path / "e")]) == 0
    (file,) = (tmp_path / "e").glob("*.json")
    beside = tmp_path / "e" / "q.float.onnx"
    onnx.checker.check_model(str(beside))
    assert not {"QuantizeLinear", "DequantizeLinear"} & {
        n.op_type for n in onnx.load(beside).graph.node
    }
    exact, close = (Session(str(p)).run(FEED)["logits"] for p in (FLOAT, beside))
    assert np.square(exact - close).sum() < 1e-3 * np.square(exact).sum()
    again = quantized(beside, tmp_path / "again.onnx", target, UNNAMED, overrides=file)
    assert grids(tmp_path / "again.onnx") == grids(tmp_path / "q.onnx")
    one, two = (Session(str(tmp_path / n)).run(FEED)["logits"] for n in ("q.onnx", "again.onnx"))
    np.testing.assert_array_equal(one, two)
    assert not [w for w in again.report["warnings"] if "has no tensor" in w]


def test_tensorrt_reads_symmetric_codes_and_float_biases(tmp_path: Path) -> None:
    quantized(FLOAT, tmp_path / "q.onnx", "tensorrt")
    assert main(["export", str(tmp_path / "q.onnx"), "--to", "tensorrt", "-o", str(tmp_path)]) == 0
    lines = (tmp_path / "q.cache").read_text().splitlines()
    assert lines[0].startswith("TRT-")
    scales = {n: np.array([int(h, 16)], np.uint32).view(np.float32)[0]
              for n, h in (line.rsplit(": ", 1) for line in lines[1:])}  # fmt: skip
    proto = onnx.load(tmp_path / "q.onnx")
    given = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    (first,) = (n for n in proto.graph.node if n.input[0] == "input")
    assert scales["input"] == given[first.input[1]]
    again = quantized(FLOAT, tmp_path / "again.onnx", "tensorrt", overrides=tmp_path / "q.cache")
    assert grids(tmp_path / "again.onnx") == grids(tmp_path / "q.onnx")
    assert not again.report["warnings"]
    quantized(FLOAT, tmp_path / "g.onnx", "generic")
    code = main(["export", str(tmp_path / "g.onnx"), "--to", "tensorrt", "-o", str(tmp_path / "t")])
    assert code == 3 and not (tmp_path / "t").exists()


def test_int32_biases_become_floats_for_tensorrt(tmp_path: Path) -> None:
    quantized(FLOAT, tmp_path / "q.onnx", "fpga-pow2")
    assert main(["export", str(tmp_path / "q.onnx"), "--to", "tensorrt", "-o", str(tmp_path / "t")
                 ]) == 0  # fmt: skip
    proto = onnx.load(tmp_path / "t" / "q.qdq.onnx")
    assert all(t.data_type != onnx.TensorProto.INT32 for t in proto.graph.initializer)
    one, two = (Session(str(p)).run(FEED)["logits"]
                for p in (tmp_path / "q.onnx", tmp_path / "t" / "q.qdq.onnx"))  # fmt: skip
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_both_versions_of_aimet_say_the_same() -> None:
    older = {"version": "0.6.1", "activation_encodings": {"a": [
        {"bitwidth": 8, "dtype": "int", "is_symmetric": "False", "min": -0.5, "max": 2.05,
         "offset": -50, "scale": 0.01}]},
        "param_encodings": {"w": [{"bitwidth": 4, "dtype": "int", "is_symmetric": "True",
         "min": -0.8 * k, "max": 0.7 * k, "offset": -8, "scale": 0.1 * k}
         for k in (1, 2)]}}  # fmt: skip
    newer = {"version": "1.0.0", "activation_encodings": [
        {"name": "a", "dtype": "INT", "bw": 8, "enc_type": "PER_TENSOR", "is_sym": False,
         "scale": [0.01], "offset": [-50]}], "param_encodings": [
        {"name": "w", "dtype": "INT", "bw": 4, "enc_type": "PER_CHANNEL", "is_sym": True,
         "scale": [0.1, 0.2], "offset": [-8, -8]}]}  # fmt: skip
    found = [read_encodings(json.dumps(text)) for text in (older, newer)]
    for one, two in zip(*(f or [] for f in found), strict=True):
        assert (one.name, one.bits, one.symmetric, one.weight) == (
            two.name, two.bits, two.symmetric, two.weight)  # fmt: skip
        np.testing.assert_array_equal(one.scale, two.scale)
        np.testing.assert_array_equal(one.offset, two.offset)


def test_names_that_the_model_lacks(tmp_path: Path) -> None:
    cache = tmp_path / "c.cache"
    cache.write_text("TRT-8601-EntropyCalibration2\ninput: 3d000000\ninpud: 3d000000\n")
    made = quantized(FLOAT, tmp_path / "q.onnx", "tensorrt", overrides=cache)
    assert any("no tensor 'inpud'; near are input" in w for w in made.report["warnings"])
    cache.write_text("TRT-8601-EntropyCalibration2\nnothing: 3d000000\n")
    with pytest.raises(OptionError, match="no scale for any tensor"):
        quantized(FLOAT, tmp_path / "q.onnx", "tensorrt", overrides=cache)
    cache.write_text("TRT-8601-EntropyCalibration2\ninput 3d\n")
    with pytest.raises(OptionError, match="cannot be understood"):
        quantized(FLOAT, tmp_path / "q.onnx", "tensorrt", overrides=cache)
    cache.write_text('{"versions": 3}')
    with pytest.raises(OptionError, match="neither encodings of AIMET"):
        quantized(FLOAT, tmp_path / "q.onnx", "tensorrt", overrides=cache)
