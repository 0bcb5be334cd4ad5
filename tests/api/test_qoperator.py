"""``--format qoperator``: the same codes as QDQ in ONNX Runtime, smaller, and understood."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.calibrate.sources import open_data
from onnxq.errors import OptionError
from onnxq.graph import Model
from onnxq.report.coverage import check
from onnxq.report.verify import verify
from onnxq.runtime.session import Session
from tests.zoo import ZOO, model, needs_zoo, zoo

MODELS = Path(__file__).resolve().parents[2] / "models"


def digits(count: int) -> list[dict[str, np.ndarray]]:
    images = np.load(MODELS / "digits_evaluation.npz")["input"]
    return [{"input": images[i : i + 1]} for i in range(count)]


@pytest.mark.parametrize("domains", [None, "standard"])
def test_equal_outputs_and_a_report(domains: str | None) -> None:
    data = MODELS / "digits_calibration.npz"
    source = MODELS / "digits_mobilenet.onnx"
    plain = onnxq.quantize(source, data=data, target="x86")
    made = onnxq.quantize(source, data=data, target="x86", format="qoperator", domains=domains)
    proto = made.model.to_proto()
    onnx.checker.check_model(proto)
    assert {o.domain for o in proto.opset_import} == {"", *(["com.microsoft"] * (not domains))}
    sessions = Session(plain.model), Session(made.model)
    for feed in digits(50):
        one, two = (s.run(feed)["logits"] for s in sessions)
        np.testing.assert_array_equal(one, two)
    for key in ("outputs", "integer_macs_percent"):
        assert made.report["summary"][key] == plain.report["summary"][key]
    assert made.report["summary"]["bytes_quantized"] < plain.report["summary"]["bytes_quantized"]
    layers = {e["node"]: e for e in plain.report["layers"]}
    for layer in made.report["layers"]:
        for key in ("kernel", "isolated_sqnr_db", "cumulative_sqnr_db"):
            assert layer[key] == layers[layer["node"]][key], layer["node"]
    found = check(made.model)
    assert found.macs_percent == 100 and not found.unfused
    if domains is None:
        assert found.nodes_percent == 100 and found.conversions == 1  # of the input
        assert not any(d["pass"] == "to-qoperator" for d in made.report["declines"])


def test_codes_in_and_out() -> None:
    options = {"data": MODELS / "mnist_calibration.npz", "target": "fpga-pow2"}
    made = onnxq.quantize(MODELS / "lenet_mnist.onnx", format="qoperator", io_dtype="int8",
                          **options)  # fmt: skip
    proto = made.model.to_proto()
    ops = {n.op_type for n in proto.graph.node}
    assert ops == {"QLinearConv", "Clip", "MaxPool", "Flatten", "QGemm"}
    ends = (*proto.graph.input, *proto.graph.output)
    assert {i.type.tensor_type.elem_type for i in ends} == {onnx.TensorProto.INT8}


def test_verified_as_the_qdq_model_is() -> None:
    data = MODELS / "mnist_calibration.npz"
    counts = []
    for form in ("qdq", "qoperator"):
        made = onnxq.quantize(
            MODELS / "lenet_mnist.onnx", data=data, target="fpga-pow2", format=form
        )
        model = Model.load(made.model.to_proto())
        samples = open_data(str(data), Session(model.to_proto()).inputs, None)
        found = verify(model, [f for _, f in zip(range(20), samples, strict=False)], c=False)
        assert found["holds"]["runtime"]
        counts.append([(x["value"], x["runtime_alone"]) for x in found["layers"]])
    assert counts[0] == counts[1]


def test_refusals() -> None:
    source, data = MODELS / "digits_resnet.onnx", MODELS / "digits_calibration.npz"
    with pytest.raises(OptionError, match="--domains has no effect"):
        onnxq.quantize(source, data=data, domains="standard")
    with pytest.raises(OptionError, match="target tensorrt reads QDQ models"):
        onnxq.quantize(source, data=data, target="tensorrt", format="qoperator")


@needs_zoo
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "limit"),
    [("cifar_resnet20", 0.3), ("squeezenet1.1", 0.28), ("mobilenetv2", 0.28), ("yolox_nano", 1)],
)
def test_zoo(name: str, limit: float) -> None:
    assert ZOO is not None
    feeds = list(zoo().calibration(name, 20))
    made = [
        onnxq.quantize(model(name), data=feeds, target="x86", recipe="fast", format=form)
        for form in ("qdq", "qoperator")
    ]
    sessions = [Session(m.model) for m in made]
    for feed in feeds[:5]:
        one, two = (s.run(feed) for s in sessions)
        for key in one:
            np.testing.assert_array_equal(one[key], two[key])
    sizes = made[1].report["summary"]
    assert sizes["bytes_quantized"] <= limit * sizes["bytes_float"]
