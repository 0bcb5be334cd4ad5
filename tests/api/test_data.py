"""Data of a call: where samples come from, statistics that are kept, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxq
import onnxq.targets
from onnxq.calibrate import driver
from onnxq.errors import (
    DataError,
)
from onnxq.quant.ranges import RANGE_METHODS
from tests.api.support import content, network, samples, stack
from tests.passes.golden import parse


def test_sources_of_the_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", stack())
    np.savez(tmp_path / "x.npz", x=stack())
    sources = [samples(), stack(), tmp_path / "x.npy", str(tmp_path / "x.npz"), iter(samples())]
    found = [onnxq.quantize(network(), data=s, target="x86") for s in sources]
    scales = {float(r.ctx.qparams["x"].scale) for r in found}
    assert len(scales) == 1
    assert all(r.report["data"]["calibration_samples"] == 18 for r in found)


def test_the_file_is_the_same_twice(tmp_path: Path) -> None:
    files = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for file in files:
        onnxq.quantize(network(), data=samples(), target="x86").save(file)
    assert files[0].read_bytes() == files[1].read_bytes()
    onnx.checker.check_model(onnx.load(files[0]), full_check=True)


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_a_generator_is_read_once(method: str) -> None:
    done = 0

    def once() -> Iterator[dict[str, np.ndarray]]:
        nonlocal done
        for feed in samples():
            done += 1
            yield feed

    result = onnxq.quantize(network(), data=once(), target="x86", calibration=method)
    assert done == 20
    assert result.report["data"]["calibration_samples"] == 18
    assert result.report["data"]["report_samples"] == 2
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > 8
    listed = onnxq.quantize(network(), data=samples(), target="x86", calibration=method)
    for name, qparams in listed.ctx.qparams.items():
        np.testing.assert_array_equal(qparams.scale, result.ctx.qparams[name].scale)


def test_statistics_are_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = 0
    original = driver.calibrate

    def counted(*args: object, **options: object) -> object:
        nonlocal runs
        runs += 1
        return original(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("onnxq.api.calibration.calibrate", counted)
    file = tmp_path / "statistics.npz"
    first = onnxq.quantize(network(), data=samples(), target="x86", statistics=file)
    assert runs > 0
    kept = file.read_bytes()
    runs = 0
    again = onnxq.quantize(network(), data=samples(), target="x86", statistics=file)
    assert content(first) == content(again)
    assert file.read_bytes() == kept
    for options in (
        {"exclude": ("conv2",)},
        {"calibration": "minmax"},
        {"calibration": "percentile"},
        {"calibration": "entropy"},
        {"target": "x86-vnni"},
    ):
        chosen = {"target": "x86", **options}
        onnxq.quantize(network(), data=samples(), statistics=file, **chosen)
    assert runs == 0, "no inference for another choice from the same statistics"


def test_statistics_of_other_data_or_another_model_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "statistics.npz"
    onnxq.quantize(network(), data=samples(), target="x86", statistics=file)
    with pytest.raises(DataError, match="data"):
        onnxq.quantize(network(), data=samples(seed=5), target="x86", statistics=file)
    other = network()
    other.graph.node[0].name = "another"
    weight = other.graph.initializer[0]
    weight.raw_data = bytes(reversed(weight.raw_data))
    with pytest.raises(DataError, match="model"):
        onnxq.quantize(other, data=samples(), target="x86", statistics=file)
    file.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"statistics\.npz"):
        onnxq.quantize(network(), data=samples(), target="x86", statistics=file)


def test_no_data() -> None:
    with pytest.raises(DataError, match="no calibration data"):
        onnxq.quantize(network())
    with pytest.raises(DataError):
        onnxq.quantize(network(), data=[])
    result = onnxq.quantize(network(), random_data=True, target="x86")
    assert any("not calibrated" in w for w in result.warnings)
    assert result.report["data"]["calibrated"] is False
    assert "not calibrated" in result.model.metadata["onnxq.calibrated"]
    assert content(result) == content(onnxq.quantize(network(), random_data=True, target="x86"))
    other = onnxq.quantize(network(), random_data=True, target="x86", seed=1)
    assert other.ctx.qparams["x"].scale != result.ctx.qparams["x"].scale


def test_random_data_of_no_elements() -> None:
    text = "g (float[0,4] x, float[1,4] z) => (float[1,4] y) { y = Concat <axis = 0> (x, z) }"
    result = onnxq.quantize(parse(text), random_data=True, target="x86")
    assert any("nothing was quantized" in w for w in result.warnings)


@pytest.mark.parametrize(
    ("feed", "part"),
    [
        ({"x": np.full((1, 4, 6, 6), np.nan, np.float32)}, "NaN"),
        ({"x": np.full((1, 4, 6, 6), np.inf, np.float32)}, "Inf"),
        ({"image": np.zeros((1, 4, 6, 6), np.float32)}, "'x'"),
        ({"x": np.zeros((4, 6), np.float32)}, "expected"),
        ({"x": np.zeros((1, 6, 6, 4), np.float32)}, "4"),
        ({"x": np.zeros((1, 4, 6, 6), np.complex64)}, "complex64"),
        ({}, "'x'"),
    ],
)
@pytest.mark.parametrize("place", [0, 13, 19])
def test_bad_samples(feed: dict[str, np.ndarray], part: str, place: int) -> None:
    data = samples()
    data[place] = feed
    with pytest.raises(DataError, match=part) as caught:
        onnxq.quantize(network(), data=data, target="x86")
    assert caught.value.exit_code == 2
    assert str(place) in str(caught.value)
