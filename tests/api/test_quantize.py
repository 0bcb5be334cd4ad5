from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

import onnxq
import onnxq.targets
from onnxq.errors import (
    ConditionError,
    ModelFileError,
    NothingQuantizedError,
    OptionError,
    UnknownNameError,
    UnsupportedModelError,
)
from onnxq.graph import Model
from tests.api.support import content, network, samples
from tests.passes.golden import outputs


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
