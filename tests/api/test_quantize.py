from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

import onnxq
import onnxq.targets
from onnxq.calibrate import driver
from onnxq.errors import (
    ConditionError,
    DataError,
    ModelFileError,
    NothingQuantizedError,
    OptionError,
    UnknownNameError,
    UnsupportedModelError,
)
from onnxq.graph import Model
from onnxq.quant.ranges import RANGE_METHODS
from tests.api.support import network, samples, stack
from tests.passes.golden import outputs, parse


def content(result: onnxq.Result) -> bytes:
    return bytes(result.model.to_proto().SerializeToString(deterministic=True))


def ops(proto: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in proto.graph.node]


def test_sources_of_the_model(tmp_path: Path) -> None:
    proto = network()
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    before, listing = path.read_bytes(), list(tmp_path.iterdir())
    model = Model.load(path)
    untouched = model.to_proto().SerializeToString(deterministic=True)
    sources = [path, str(path), proto, model, SimpleNamespace(model_proto=proto)]
    found = {content(onnxq.quantize(s, data=samples(), target="x86")) for s in sources}
    assert len(found) == 1
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == listing
    assert model.to_proto().SerializeToString(deterministic=True) == untouched
    assert proto.SerializeToString(deterministic=True) == untouched
    with pytest.raises(ModelFileError):
        onnxq.quantize(object(), data=samples())


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


def test_already_quantized() -> None:
    done = onnxq.quantize(network(), data=samples(), target="x86")
    with pytest.raises(UnsupportedModelError, match="quantized already") as caught:
        onnxq.quantize(done.model, data=samples())
    assert caught.value.exit_code == 3


def test_exclude() -> None:
    result = onnxq.quantize(network(), data=samples(), target="x86", exclude=["conv2"])
    kept = {k["node"]: k["reason"] for k in result.report["kept_float"]}
    assert kept["conv2"] == "excluded by 'conv2'"
    assert result.explain("conv2") == "conv2: float. excluded by 'conv2'"
    assert result.explain("conv1").startswith("conv1: uint8 × int8, QLinearConv.")
    with pytest.raises(UnknownNameError, match="conv1"):
        result.explain("conv9")
    with pytest.raises(UnknownNameError, match="conv2") as caught:
        onnxq.quantize(network(), data=samples(), target="x86", exclude=["convv2"])
    assert caught.value.exit_code == 2


def test_exclude_from(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    report = onnxq.quantize(network(), data=samples(), target="x86").report
    report["recommendation"] = [{"node": "conv3"}]
    file.write_text(json.dumps(report), "utf-8")
    result = onnxq.quantize(network(), data=samples(), target="x86", exclude_from=file)
    assert "conv3" not in result.ctx.plan.nodes
    file.write_text("{}", "utf-8")
    with pytest.raises(OptionError, match="no report"):
        onnxq.quantize(network(), data=samples(), exclude_from=file)


def test_overrides(tmp_path: Path) -> None:
    file = tmp_path / "overrides.toml"
    file.write_text("[r]\nrange = [0.0, 2.55]\n", "utf-8")
    result = onnxq.quantize(network(), data=samples(), target="x86", overrides=file)
    assert float(result.ctx.qparams["r"].scale) == pytest.approx(0.01)
    file.write_text("[q]\nrange = [0.0, 2.55]\n", "utf-8")
    with pytest.raises(UnknownNameError, match="quantized tensor 'q'"):
        onnxq.quantize(network(), data=samples(), target="x86", overrides=file)


@pytest.mark.parametrize(("kind", "target"), [("uint8", "x86"), ("int8", "arm")])
def test_io_dtype(kind: str, target: str) -> None:
    result = onnxq.quantize(network(), data=samples(), target=target, io_dtype=kind)
    proto = result.model.to_proto()
    wanted = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    assert proto.graph.input[0].type.tensor_type.elem_type == wanted
    assert "onnxq.input.x" in result.model.metadata
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > 20
    other = {"uint8": "int8", "int8": "uint8"}[kind]
    refused = onnxq.quantize(network(), data=samples(), target=target, io_dtype=other)
    assert any("codes are" in d["reason"] for d in refused.report["declines"])


def test_float_weights_compute_the_same() -> None:
    stored = onnxq.quantize(network(), data=samples(), target="x86").model.to_proto()
    result = onnxq.quantize(network(), data=samples(), target="x86", format="qdq-float")
    proto = result.model.to_proto()
    weights = [t for t in proto.graph.initializer if len(t.dims) == 4]
    assert {t.data_type for t in weights} == {onnx.TensorProto.FLOAT}
    for feed in samples(3):
        for a, b in zip(outputs(stored, feed), outputs(proto, feed), strict=True):
            np.testing.assert_array_equal(a, b)


def test_max_opset() -> None:
    result = onnxq.quantize(network(), data=samples(), target="x86", max_opset=13)
    assert result.model.opset == 13
    with pytest.raises(OptionError, match="per channel need opset 13"):
        old = network()
        old.opset_import[0].version = 11
        onnxq.quantize(old, data=samples(), target="x86", max_opset=12)
    result = onnxq.quantize(old, data=samples(), target="x86", max_opset=12, granularity="tensor")
    assert result.model.opset <= 12
    with pytest.raises(UnsupportedModelError, match="opset 13, above the 12"):
        onnxq.quantize(network(), data=samples(), target="x86", max_opset=12)


@pytest.mark.parametrize(("kind", "opset"), [("int4", 21), ("int16", 21), ("int2", 25)])
def test_formats_need_their_opset(kind: str, opset: int) -> None:
    result = onnxq.quantize(network(), data=samples(), target="generic", weights=kind)
    assert result.model.opset == opset
    with pytest.raises(OptionError, match=f"{kind} needs opset {opset}"):
        onnxq.quantize(network(), data=samples(), weights=kind, max_opset=opset - 1)


def test_runtime_version() -> None:
    result = onnxq.quantize(network(), data=samples(), target="x86", runtime_version="1.8")
    proto = result.model.to_proto()
    assert proto.ir_version <= 7
    with pytest.raises(OptionError):
        onnxq.quantize(network(), data=samples(), target="x86", runtime_version="one")


def test_conditions() -> None:
    with pytest.raises(ConditionError, match="below") as condition:
        onnxq.quantize(network(), data=samples(), target="x86", min_sqnr=120.0)
    assert condition.value.exit_code == 4
    onnxq.quantize(network(), data=samples(), target="x86", min_sqnr=15.0, require_quantized=True)
    with pytest.raises(NothingQuantizedError, match="excluded by") as nothing:
        onnxq.quantize(
            network(), data=samples(), target="x86", exclude=["*"], require_quantized=True
        )
    assert nothing.value.exit_code == 5
    float_model = onnxq.quantize(network(), data=samples(), target="x86", exclude=["*"])
    assert any("nothing was quantized" in w for w in float_model.warnings)
    assert "QuantizeLinear" not in ops(float_model.model.to_proto())


@pytest.mark.parametrize(
    "options",
    [
        {"target": "x87"},
        {"recipe": "balancd"},
        {"recipe": "insert-qdq{float_weight=true}"},
        {"calibration": "minmx"},
        {"weights": "int99"},
        {"granularity": "row"},
        {"format": "qdqq"},
        {"io_dtype": "int4"},
        {"providers": "CUDDA"},
    ],
)
def test_unknown_names(options: dict[str, str]) -> None:
    with pytest.raises(OptionError) as caught:
        onnxq.quantize(network(), data=samples(), **options)
    assert caught.value.exit_code == 2
    assert "Try: " in str(caught.value)


def test_options_without_their_pass() -> None:
    with pytest.raises(OptionError, match="no pass 'choose-ranges'"):
        onnxq.quantize(network(), data=samples(), recipe="name-nodes", calibration="minmax")


@pytest.mark.parametrize("target", list(onnxq.targets.TARGETS))
@pytest.mark.parametrize("recipe", ["fast", "balanced"])
def test_every_target(target: str, recipe: str) -> None:
    result = onnxq.quantize(network(), data=samples(), target=target, recipe=recipe)
    proto = result.model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    # a power of two is up to twice as coarse a step, and 8 bits with sign have 7 behind a ReLU
    least = 20 if onnxq.targets.TARGETS[target].integer is None else 17
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > least
    assert {"conv1", "conv2", "conv3"} <= result.ctx.plan.nodes.keys()
    zeros = [t for t in proto.graph.initializer if t.name.endswith("zero_point")]
    if target == "tensorrt":
        assert all(not onnx.numpy_helper.to_array(t).any() for t in zeros)


def test_a_report_that_recommends_nothing_excludes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(
        json.dumps({"schema": "onnxq-report/1", "recommendation": [], "sensitivity": {"layers": 3}})
    )
    plain = onnxq.quantize(network(), data=samples(), target="x86")
    result = onnxq.quantize(network(), data=samples(), target="x86", exclude_from=path)
    assert content(plain) == content(result)
    path.write_text(json.dumps({"schema": "onnxq-report/1", "recommendation": []}))
    with pytest.raises(OptionError, match="not measured"):
        onnxq.quantize(network(), data=samples(), target="x86", exclude_from=path)
