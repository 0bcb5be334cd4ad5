"""Modes dynamic and weights: without data, with data, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import onnxq
from onnxq.cli.failures import run
from onnxq.errors import OnnxqError, OptionError, UnknownNameError
from onnxq.testing import random_feeds
from tests.passes.golden import outputs, parse

MLP = """g (float[N,96] x) => (float[N,10] y)
    <float[96,64] w, float[64] b, float[64,10] v, float[10] c>
    { [one] a = MatMul (x, w)  [add] h = Add (a, b)  [relu] r = Relu (h)
      [two] y = Gemm (r, v, c) }"""


def test_no_data_is_needed() -> None:
    for mode, kernel in (("dynamic", "DynamicQuantizeMatMul"), ("weights", None)):
        result = onnxq.quantize(parse(MLP), mode=mode, target="x86-vnni")
        proto = result.model.to_proto()
        onnx.checker.check_model(proto, full_check=True)
        layers = {e["node"]: e for e in result.report["layers"]}
        assert layers.keys() == {"one", "two"}
        assert layers["one"]["kernel"] == kernel
        assert layers["two"]["weights_sqnr_db"] > 35
        assert result.report["summary"]["bytes_quantized"] < 10_000
        feed = {"x": np.random.default_rng(0).normal(size=(3, 96)).astype(np.float32)}
        (real,), (found,) = outputs(parse(MLP), feed), outputs(proto, feed)
        assert np.abs(found - real).max() < 0.03 * np.abs(real).max()


def test_best_takes_large_channels_into_the_weights() -> None:
    text = """g (float[N,96] x) => (float[N,64] y) <float[96] g, float[96] b, float[96,64] w>
        { [norm] n = LayerNormalization (x, g, b)  [mm] y = MatMul (n, w) }"""
    gain = np.ones(96, np.float32)
    gain[::32] = 40.0
    proto = parse(text, {"g": gain}, opset=17)
    data = random_feeds(proto, 40)
    plain, best = (
        onnxq.quantize(
            proto, mode="dynamic", recipe=r, data=data, target="x86-vnni", report_detail="basic"
        ).report["summary"]["outputs"][0]["sqnr_db"]
        for r in ("balanced", "best")
    )
    assert best > plain + 3


def test_layers_are_measured_on_data() -> None:
    data = random_feeds(parse(MLP), 20)
    result = onnxq.quantize(parse(MLP), mode="dynamic", data=data, target="x86-vnni")
    report = result.report
    assert report["summary"]["outputs"][0]["sqnr_db"] > 35
    layers = {e["node"]: e for e in report["layers"]}
    assert layers["one"]["isolated_sqnr_db"] > 35, "codes computed in each run"
    assert layers["two"]["isolated_sqnr_db"] > 40, "a stored weight"
    assert report["kept_float"] == []
    assert report["data"]["report_samples"] == 2


def test_floating_point_weights_are_measured() -> None:
    data = random_feeds(parse(MLP), 20)
    result = onnxq.quantize(parse(MLP), mode="weights", weights="float8", data=data, target="x86")
    layers = {e["node"]: e for e in result.report["layers"]}
    assert {e["precision"] for e in layers.values()} == {"float × float8_e4m3fn"}
    assert 25 < layers["one"]["isolated_sqnr_db"] < 45


def test_bits_blocks_and_zero_points() -> None:
    sizes = {}
    for bits in ("int8", "int4", "int2"):
        result = onnxq.quantize(
            parse(MLP), mode="weights", weights=bits, block=32, asymmetric=True, target="x86-vnni"
        )
        outputs(result.model.to_proto(), {"x": np.ones((1, 96), np.float32)})
        sizes[bits] = result.report["summary"]["bytes_quantized"]
    assert sizes["int2"] < sizes["int4"] < sizes["int8"]
    blocks = onnxq.quantize(parse(MLP), mode="weights", granularity="block:32").ctx.blocks
    assert blocks["w"].scale.shape == (3, 64)


@pytest.mark.parametrize(("target", "block", "opset"), [("x86", 0, 13), ("generic", 32, 21)])
def test_sixteen_bits_are_next_to_exact(target: str, block: int, opset: int) -> None:
    data = random_feeds(parse(MLP), 20)
    result = onnxq.quantize(
        parse(MLP), mode="weights", weights="int16", block=block, data=data, target=target
    )
    assert result.model.opset == opset
    assert {e["precision"] for e in result.report["layers"]} == {"float × int16"}
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > 80
    with pytest.raises(OptionError, match="no use for zero points"):
        onnxq.quantize(parse(MLP), mode="weights", weights="int16", asymmetric=True)


def test_formats_of_other_runtimes_are_written_and_said() -> None:
    result = onnxq.quantize(parse(MLP), mode="weights", weights="float4", block=16,
                            target="generic")  # fmt: skip
    assert "cannot run float4e2m1" in result.report["warnings"][0]
    assert {e["precision"] for e in result.report["layers"]} == {"float4e2m1"}
    feed = {"x": np.random.default_rng(0).normal(size=(3, 96)).astype(np.float32)}
    (real,) = outputs(parse(MLP), feed)
    (found,) = ReferenceEvaluator(result.model.to_proto()).run(None, feed)
    assert 0.01 < np.abs(found - real).max() / np.abs(real).max() < 0.3


def test_the_same_call_gives_the_same_bytes() -> None:
    found = {
        onnxq.quantize(parse(MLP), mode="weights", weights="int4", block=16)
        .model.to_proto().SerializeToString(deterministic=True)
        for _ in range(2)
    }  # fmt: skip
    assert len(found) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "dynamc"}, "mode 'dynamc'"),
        ({"mode": "dynamic", "calibration": "mse"}, "--calibration has no effect"),
        ({"mode": "dynamic", "bench": True}, "--bench has no effect"),
        ({"mode": "static", "block": 32, "random_data": True}, "--block has no effect"),
        ({"mode": "weights", "weights": "int3"}, "cannot be stored as int3"),
        ({"mode": "weights", "granularity": "tensor"}, "granularity 'tensor'"),
        ({"granularity": "block:32", "random_data": True}, "--mode weights --granularity block:32"),
        ({"mode": "weights", "block": 40}, "blocks of 40"),
        ({"mode": "weights", "weights": "int4", "max_opset": 17}, "int4 needs opset 21"),
        ({"mode": "dynamic", "target": "fpga-pow2"}, "integers alone"),
        ({"mode": "weights", "weights": "float4", "target": "x86"}, "could not load weights of"),
        ({"mode": "weights", "weights": "float8", "asymmetric": True}, "no zero points"),
        ({"mode": "weights", "weights": "float8", "weight_method": "gptq"}, "is for integers"),
        ({"mode": "weights", "domains": "microsoft", "target": "generic"}, "no operators of"),
        ({"mode": "weights", "double_scales": True}, "share no scale"),
        ({"mode": "weights", "weight_method": "gtpq"}, "method for weights 'gtpq'"),
        ({"mode": "static", "tables": "int4", "random_data": True}, "--tables has no effect"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OnnxqError) as caught:
        onnxq.quantize(parse(MLP), **options)
    assert message in str(caught.value)
    assert isinstance(caught.value, OptionError | UnknownNameError)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(parse(MLP), tmp_path / "mlp.onnx")
    data = np.concatenate([f["x"] for f in random_feeds(parse(MLP), 20)])
    np.savez(tmp_path / "data.npz", x=data)
    monkeypatch.chdir(tmp_path)
    weights = ["--mode", "weights", "--weights", "int4", "--block", "32", "--asymmetric"]
    assert run(["quantize", "mlp.onnx", "-o", "w.onnx", *weights, "--quiet"]) == 0
    dynamic = ["--mode", "dynamic", "--data", "data.npz", "--report", "r.json", "--min-sqnr", "30"]
    assert run(["quantize", "mlp.onnx", "-o", "d.onnx", *dynamic, "--quiet"]) == 0
    assert json.loads(Path("r.json").read_text("utf-8"))["recipe"] == "dynamic"
    for name in ("w.onnx", "d.onnx"):
        assert run(["check", name, "--json"]) == 0
        assert run(["report", "mlp.onnx", name, "--data", "data.npz", "-o", "c.json"]) == 0
        assert len(json.loads(Path("c.json").read_text("utf-8"))["layers"]) == 2
