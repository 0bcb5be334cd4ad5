from __future__ import annotations

import json

import numpy as np
import pytest

import onnxq
from onnxq.api.finish import measured
from onnxq.graph import Model
from onnxq.report.boundary import boundary_of
from onnxq.report.compare import compare
from onnxq.report.measure import measure
from onnxq.runtime.session import Session
from tests.api.support import network, samples
from tests.passes.golden import outputs


@pytest.fixture(scope="module")
def result() -> onnxq.Result:
    return onnxq.quantize(network(), data=samples(), target="x86")


SUMMARY = {
    "outputs", "bytes_float", "bytes_quantized", "integer_macs_percent", "integer_nodes_percent",
}  # fmt: skip
LAYER = {
    "node", "op_type", "precision", "kernel", "macs", "isolated_sqnr_db", "cumulative_sqnr_db",
    "noise_to_signal", "cosine", "share", "clipped", "reason",
}  # fmt: skip
REPORT = {
    "schema", "model", "target", "recipe", "versions", "data", "summary", "layers", "kept_float",
    "declines", "warnings", "recommendation",
}  # fmt: skip


def test_schema(result: onnxq.Result) -> None:
    report = result.report
    assert report["schema"] == "onnxq-report/1"
    assert report.keys() >= REPORT
    assert report["summary"].keys() >= SUMMARY
    assert report["data"].keys() >= {"digest", "calibration_samples", "report_samples", "held_out"}
    for output in report["summary"]["outputs"]:
        assert output.keys() >= {"name", "sqnr_db", "cosine", "noise_to_signal", "top1_agreement"}
    assert {e["node"] for e in report["layers"]} == {"conv1", "conv2", "add", "conv3"}
    for layer in report["layers"]:
        assert layer.keys() >= LAYER
    assert report["kept_float"] == [
        {"node": "tanh", "op_type": "Tanh", "reason": "no integer kernel for Tanh on x86"}
    ]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_summary(result: onnxq.Result) -> None:
    summary = result.report["summary"]
    assert summary["integer_macs_percent"] == 100.0
    assert summary["integer_nodes_percent"] == pytest.approx(80.0)
    assert summary["bytes_float"] == network().ByteSize()
    assert summary["bytes_quantized"] == result.model.to_proto().ByteSize()
    macs = {e["node"]: e["macs"] for e in result.report["layers"]}
    assert macs == {"conv1": 36 * 16, "conv2": 36 * 16 * 9, "add": 0, "conv3": 36 * 16}


def test_output_error_is_the_one_on_the_held_out_samples(result: onnxq.Result) -> None:
    noise = signal = 0.0
    held = samples()[-2:]
    for feed in held:
        (real,) = outputs(network(), feed)
        found = Session(result.model.to_proto()).run(feed)["y"]
        noise += float(np.square(found.astype(np.float64) - real).sum())
        signal += float(np.square(real.astype(np.float64)).sum())
    (entry,) = result.report["summary"]["outputs"]
    assert entry["sqnr_db"] == pytest.approx(10 * np.log10(signal / noise), abs=0.01)
    assert entry["noise_to_signal"] == pytest.approx(noise / signal, rel=0.01)


@pytest.mark.parametrize(
    ("count", "calibrate", "report"),
    [(4, 4, 4), (9, 9, 9), (10, 9, 1), (64, 58, 6), (400, 368, 32)],
)
def test_held_out(count: int, calibrate: int, report: int) -> None:
    data = (samples(8) * 50)[:count]
    found = onnxq.quantize(network(), data=data, target="x86", recipe="fast")
    facts = found.report["data"]
    assert facts["calibration_samples"] == calibrate
    assert facts["report_samples"] == report
    assert facts["held_out"] == (count >= 10)
    shared = f"only {count} samples"
    assert any(shared in w for w in found.warnings) == (count < 10)


def test_data_of_its_own(result: onnxq.Result) -> None:
    found = onnxq.quantize(
        network(), data=samples(), target="x86", report_data=samples(5, seed=3)
    ).report["data"]
    assert (found["calibration_samples"], found["report_samples"]) == (20, 5)
    assert found["held_out"] is True
    assert found["digest"] == result.report["data"]["digest"]


def test_a_model_against_itself_is_exact() -> None:
    model = Model.load(network())
    errors = measure(model, model.clone(), {}, samples(3))
    assert errors.samples == 3
    assert errors.outputs["y"].sqnr_db == np.inf
    assert errors.agree == errors.decided


def test_layers_are_measured_at_their_codes(result: onnxq.Result) -> None:
    errors = measured(result.original, result.model, result.ctx, samples(3), ())
    assert set(errors.tensors) == {"r", "c", "s", "t"}
    assert all(20 < sums.sqnr_db < 80 for sums in errors.tensors.values())
    (last,) = (e for e in result.report["layers"] if e["node"] == "conv3")
    assert "measured behind the tanh" in last["reason"]
    assert errors.tensors["t"].sqnr_db == pytest.approx(errors.outputs["y"].sqnr_db, abs=0.5)


def test_codes_at_the_boundary() -> None:
    result = onnxq.quantize(network(), data=samples(), target="x86", io_dtype="uint8")
    boundary = boundary_of(result.model)
    assert set(boundary) == {"x"}
    np.testing.assert_array_equal(boundary["x"].scale, result.ctx.qparams["x"].scale)
    assert boundary["x"].zero_point == result.ctx.qparams["x"].zero_point
    found = compare(Model.load(network()), result.model, samples(4))
    assert found["summary"]["outputs"][0]["sqnr_db"] > 20
    assert boundary_of(result.original) == {}
