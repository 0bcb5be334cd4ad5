"""What is said of OpenVINO is what it does, where it is installed."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from onnxq.graph import Model
from onnxq.report.lint.run import lint
from onnxq.report.lint.runtimes import OPENVINO
from tests.report.coverage.broken import BROKEN, HAZARDOUS
from tests.report.foreign import FIXTURES, by_onnxruntime, float_model, samples

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")

MULTIPLY = ("Convolution", "FullyConnected")
MODELS = [m for _, first, second in (*BROKEN, *HAZARDOUS) for m in (first, second) if m is not None]


def precisions(proto: onnx.ModelProto, folder: Path) -> list[str]:
    """How each product of *proto* runs: ``i8`` or ``f32``.

    Raises:
        RuntimeError: OpenVINO refuses the model.
    """
    onnx.save(proto, folder / "m.onnx")
    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(folder / "m.onnx"), "CPU", options)
    found = []
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        if info["layerType"].astype(str) in MULTIPLY:
            found.append(info["primitiveType"].astype(str).split("_")[-1].lower())
    return found


@pytest.mark.parametrize("proto", MODELS)
def test_products_run_as_said(proto: onnx.ModelProto, tmp_path: Path) -> None:
    ops = [n.op_type for n in proto.graph.node]
    if not {"Conv", "Gemm", "MatMul"} & set(ops):
        pytest.skip("nothing in it multiplies")
    problems = lint(Model.load(proto), OPENVINO)
    (precision,) = precisions(proto, tmp_path)
    assert (precision == "f32") is bool(problems), problems


@pytest.mark.parametrize("kind", ["qoperator", "dynamic", "folded qdq"])
def test_forms_of_models(kind: str, tmp_path: Path) -> None:
    model = by_onnxruntime(
        float_model("digits_resnet"), samples("digits_resnet", 2), tmp_path, kind
    )
    effects = {p.effect for p in lint(Model.load(model), OPENVINO)}
    if kind == "qoperator":
        assert "refused" in effects
        with pytest.raises(RuntimeError, match="QLinear"):
            precisions(model, tmp_path)
    else:
        assert effects == ({"float"} if kind == "dynamic" else set())
        assert ("f32" in precisions(model, tmp_path)) is (kind == "dynamic")


def test_nncf_per_channel_activations_of_depthwise_layers(tmp_path: Path) -> None:
    model = onnx.load(FIXTURES / "digits_mobilenet.nncf.onnx")
    said = [p for p in lint(Model.load(model), OPENVINO) if p.effect == "float"]
    assert precisions(model, tmp_path).count("f32") == len({p.node for p in said}) == 8
