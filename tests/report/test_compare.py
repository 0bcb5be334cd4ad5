from __future__ import annotations

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.errors import DataError, UserError
from onnxq.graph import Model
from onnxq.report.compare import compare
from onnxq.testing import random_feeds
from tests.contract.models import build


@pytest.fixture(scope="module")
def quantized():
    proto = build("residual")
    result = onnxq.quantize(proto, data=random_feeds(proto, 12), target="x86-vnni", recipe="fast")
    return proto, result


def test_it_finds_what_quantize_reported(quantized) -> None:
    proto, result = quantized
    feeds = random_feeds(proto, 8, seed=1)
    found = compare(Model.load(proto), result.model, iter(feeds))
    assert {e["reason"].split("'")[1] for e in found["layers"]} >= {"r", "c"}
    assert found["schema"] == "onnxq-report/1"
    assert found["target"] == "x86-vnni"
    assert found["data"]["report_samples"] == 8
    assert found["summary"]["integer_macs_percent"] == 100.0
    (output,) = found["summary"]["outputs"]
    assert output["sqnr_db"] > 20
    layers = {e["node"]: e for e in found["layers"]}
    assert layers["conv1"]["kernel"] == "QLinearConv"
    assert layers["conv1"]["macs"] == 4 * 6 * 6 * 4
    values = [e["isolated_sqnr_db"] for e in found["layers"]]
    assert None not in values
    assert values == sorted(values)
    own = {e["node"]: e for e in result.report["layers"]}
    assert own.keys() == layers.keys()
    assert all(own[n]["result"] == e["result"] for n, e in layers.items())


def test_models_of_other_tools() -> None:
    """Q and DQ around a Relu's float result, named as ONNX Runtime's quantizer names them."""
    text = """
    <ir_version: 8, opset_import: ["" : 13]>
    other (float[1, 4] x) => (float[1, 4] y)
    <float s = {0.5}, uint8 z = {3}>
    { [relu] a = Relu(x)
      [q] a_QuantizeLinear_Output = QuantizeLinear(a, s, z)
      [dq] a_DequantizeLinear_Output = DequantizeLinear(a_QuantizeLinear_Output, s, z)
      [neg] y = Neg(a_DequantizeLinear_Output) }
    """
    original = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]>'
        "o (float[1, 4] x) => (float[1, 4] y) { [relu] a = Relu(x) [neg] y = Neg(a) }"
    )
    x = np.array([[1.1, 2.0, -1.0, 0.4]], np.float32)
    found = compare(Model.load(original), Model.load(onnx.parser.parse_model(text)), [{"x": x}])
    (layer,) = found["layers"]
    assert layer["node"] == "relu"
    assert layer["kernel"] is None
    # relu(x) = 1.1, 2, 0, 0.4 becomes 1, 2, 0, 0.5
    signal, noise = 1.21 + 4 + 0.16, 0.01 + 0.01
    assert layer["cumulative_sqnr_db"] == pytest.approx(10 * np.log10(signal / noise), abs=1e-3)
    assert found["summary"]["integer_macs_percent"] is None


def test_models_that_do_not_belong_together(quantized) -> None:
    proto, result = quantized
    other = Model.load(build("shared-weights"))
    with pytest.raises(UserError, match="input 'x' has the shape"):
        compare(other, result.model, [])
    with pytest.raises(DataError, match="no sample"):
        compare(Model.load(proto), result.model, [])
