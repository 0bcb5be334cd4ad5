"""Every network of the zoo through ``quantize``, measured on data that calibrated nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

import onnxq
from onnxq.runtime.coverage import kernels
from tests.zoo import model as path_of
from tests.zoo import needs_zoo, zoo

CONVOLUTIONAL = (
    "mnist_cntk", "squeezenet1.1", "mobilenetv2", "cifar_resnet20", "yolox_nano", "supres_core",
)  # fmt: skip
TRANSFORMERS = ("names_transformer", "villes_transformer_d64h8")
OTHERS = (
    "mnist_cntk", "supres_core", "shakespeare_rnn", "gtcrn_simple", "silero_vad_16k_op15",
    "silero_vad", *TRANSFORMERS,
)  # fmt: skip
"""The networks that no test below quantizes with all of their samples."""
INTEGER = {"Conv", "Gemm", "Add", "Concat"}
"""All nodes of these operators are integer kernels in the three networks with a goal."""

pytestmark = pytest.mark.slow


def quantized(name: str, count: int | None, folder: Path) -> tuple[onnxq.Result, Path]:
    feeds = list(zoo().calibration(name, count))
    result = onnxq.quantize(path_of(name), data=feeds, target="x86")
    file = folder / f"{name}.onnx"
    result.save(file)
    return result, file


def check(name: str, result: onnxq.Result, file: Path) -> None:
    """What holds of every network, with however many samples."""
    onnx.checker.check_model(onnx.load(file), full_check=True)
    layers = result.report["layers"]  # in a branch that no sample takes, weights alone
    loose = [e["node"] for e in layers if e["kernel"] is None and "weights_sqnr_db" not in e]
    assert not loose
    if name in (*CONVOLUTIONAL, *TRANSFORMERS):
        assert any(e["kernel"] for e in result.report["layers"])
    reasons = [k["reason"] for k in result.report["kept_float"]]
    assert all(reasons)


@needs_zoo
@pytest.mark.parametrize("name", OTHERS)
def test_sixteen_samples(name: str, tmp_path: Path) -> None:
    before = path_of(name).read_bytes()
    result, file = quantized(name, 16, tmp_path)
    check(name, result, file)
    assert path_of(name).read_bytes() == before
    assert result.report["data"]["calibration_samples"] == (8 if name == "supres_core" else 15)
    assert zoo().evaluate(name, file, limit=32)["sqnr_db"] > 5


@needs_zoo
@pytest.mark.parametrize(
    ("name", "decibels", "size"),
    [("squeezenet1.1", 30.0, 0.28), ("mobilenetv2", 13.5, 0.28), ("cifar_resnet20", 25.6, 0.30)],
)
def test_goals(name: str, decibels: float, size: float, tmp_path: Path) -> None:
    result, file = quantized(name, None, tmp_path)
    check(name, result, file)
    assert zoo().evaluate(name, file)["sqnr_db"] >= decibels
    assert file.stat().st_size <= size * path_of(name).stat().st_size
    found = kernels(result.model)
    left: list[Any] = [
        (n.op, n.name) for n in result.original.nodes() if n.op in INTEGER and n.name not in found
    ]
    assert not left


@needs_zoo
def test_detector_keeps_its_precision(tmp_path: Path) -> None:
    result, file = quantized("yolox_nano", None, tmp_path)
    check("yolox_nano", result, file)
    found = zoo().evaluate("yolox_nano", file)
    assert found["metric"] >= found["fp32_metric"] - 1.0
    assert found["extra"]["ap"] >= found["fp32_extra"]["ap"] - 1.0
    assert result.report["summary"]["integer_macs_percent"] >= 90


@needs_zoo
def test_sixteen_bits_keep_speech_within_a_decibel(tmp_path: Path) -> None:
    feeds, file = list(zoo().calibration("gtcrn_simple")), tmp_path / "gtcrn.onnx"
    wide = {"weights": "int16", "activations": "uint16", "recipe": "fast"}
    onnxq.quantize(
        path_of("gtcrn_simple"), data=feeds, target="x86", report_detail="basic", **wide
    ).save(file)
    found = zoo().evaluate("gtcrn_simple", file)
    assert found["metric"] >= found["fp32_metric"] - 1.0
