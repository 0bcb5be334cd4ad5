"""What ``compare`` and ``onnxq report`` say to pairs that are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import onnxq
from onnxq.cli.app import app
from onnxq.errors import OptionError, UnsupportedModelError, UserError
from onnxq.graph import Model
from onnxq.report.compare import compare
from tests.report.foreign import FIXTURES, MODELS, float_model, ruin, samples

NAME = "digits_mobilenet"
QUANTIZED = FIXTURES / f"{NAME}.nncf.onnx"
DATA = MODELS / "digits_evaluation.npz"


def models(quantized: onnx.ModelProto | None = None) -> tuple[Model, Model]:
    return Model.load(float_model(NAME)), Model.load(quantized or onnx.load(QUANTIZED))


def test_swapped() -> None:
    original, quantized = models()
    with pytest.raises(UserError, match="the first model is quantized") as found:
        compare(quantized, original, samples(NAME))
    assert "swap" in found.value.hint


def test_nothing_quantized() -> None:
    with pytest.raises(UserError, match="nothing is quantized in the second model"):
        compare(*models(float_model(NAME)), samples(NAME))


def test_another_network() -> None:
    """Of the same inputs and outputs."""
    with pytest.raises(UserError, match="do not belong together") as found:
        compare(Model.load(float_model("digits_resnet")), models()[1], samples(NAME))
    assert "no tensor of the float model" in found.value.why


def test_the_same_network_with_other_weights() -> None:
    other = float_model(NAME)
    rng = np.random.default_rng(0)
    for tensor in other.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim > 1:
            drawn = rng.normal(0, values.std(), values.shape).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(drawn, tensor.name))
    with pytest.raises(UserError, match="do not belong together") as found:
        compare(Model.load(other), models()[1], samples(NAME))
    assert "other weights" in found.value.why


def test_three_ruined_layers_are_no_other_network() -> None:
    spoiled = onnx.load(QUANTIZED)
    for node in ("block1.expand", "block2.expand", "block3.expand"):
        spoiled = ruin(spoiled, node)
    found = compare(*models(spoiled), samples(NAME))
    worst = [e["node"] for e in found["layers"][:3]]
    assert sorted(worst) == ["block1.expand", "block2.expand", "block3.expand"]


def test_a_missing_output() -> None:
    original, quantized = models()
    proto = float_model(NAME)
    proto.graph.output[0].name = "elsewhere"
    proto.graph.node[-1].output[0] = "elsewhere"
    extra = proto.graph.output.add()
    extra.CopyFrom(proto.graph.output[0])
    extra.name = proto.graph.node[0].output[0]
    with pytest.raises(UserError, match="output 'elsewhere' of the float model is not in"):
        compare(Model.load(proto), quantized, samples(NAME))
    assert original.graph.outputs[0].name == "logits"


def test_inputs_and_outputs_of_other_names() -> None:
    original, quantized = models()
    want = compare(original, quantized, samples(NAME))
    proto = onnx.load(QUANTIZED)
    for value, name in ((proto.graph.input[0], "pixels"), (proto.graph.output[0], "scores")):
        for node in proto.graph.node:
            node.input[:] = [name if n == value.name else n for n in node.input]
            node.output[:] = [name if n == value.name else n for n in node.output]
        value.name = name
    given = Model.load(proto)
    found = compare(original, given, samples(NAME))
    assert found["layers"] == want["layers"]
    assert found["summary"]["outputs"] == want["summary"]["outputs"]
    assert [t.name for t in given.graph.inputs] == ["pixels"]


def test_a_model_that_the_runtime_refuses() -> None:
    proto = onnx.load(QUANTIZED)
    proto.graph.node[1].attribute.append(onnx.helper.make_attribute("speed", 1))
    with pytest.raises(UnsupportedModelError, match="cannot load the quantized model"):
        compare(*models(proto), samples(NAME))


def test_arithmetic() -> None:
    with pytest.raises(OptionError, match="no arithmetic 'exact'"):
        compare(*models(), samples(NAME), arithmetic="exact")  # type: ignore[arg-type]
    assert compare(*models(), samples(NAME), arithmetic="kernel")["arithmetic"] == "kernel"


def test_unknown_layers_are_named() -> None:
    """A Tanh that is quantized although the float model has none in that place."""
    float_text = """
    <ir_version: 8, opset_import: ["" : 13]>
    f (float[1, 4] x) => (float[1, 4] y)
    { [relu] a = Relu(x) [neg] b = Neg(a) [relu2] y = Relu(b) }
    """
    text = """
    <ir_version: 8, opset_import: ["" : 13]>
    q (float[1, 4] x) => (float[1, 4] y)
    <float s = {0.05}, uint8 z = {128}>
    { [relu] a = Relu(x)
      [q1] aq = QuantizeLinear(a, s, z) [dq1] ad = DequantizeLinear(aq, s, z)
      [odd] t = Cos(ad)
      [q2] tq = QuantizeLinear(t, s, z) [dq2] td = DequantizeLinear(tq, s, z)
      [neg] b = Neg(td)
      [q3] bq = QuantizeLinear(b, s, z) [dq3] bd = DequantizeLinear(bq, s, z)
      [relu2] y = Relu(bd) }
    """
    feed = {"x": np.array([[1.1, 2.0, -1.0, 0.4]], np.float32)}
    found = compare(
        Model.load(onnx.parser.parse_model(float_text)),
        Model.load(onnx.parser.parse_model(text)),
        [feed],
    )
    (lost,) = found["unmatched"]
    assert (lost["quantized_node"], lost["op_type"]) == ("odd", "Cos")
    assert "no tensor of the float model has its values" in lost["reason"]
    (warning,) = found["warnings"]
    assert "1 of 3 quantized operators could not be found" in warning
    assert {e["node"] for e in found["layers"]} == {"relu", "neg"}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([str(QUANTIZED), str(MODELS / f"{NAME}.onnx"), "--data", str(DATA)], 2, "swap"),
        ([str(MODELS / f"{NAME}.onnx"), str(QUANTIZED)], 2, "--data"),
        ([str(MODELS / f"{NAME}.onnx"), str(QUANTIZED), "--data", "nowhere.npz"], 2, "no such"),
        ([str(MODELS / f"{NAME}.onnx"), "nowhere.onnx", "--data", str(DATA)], 2, "nowhere.onnx"),
    ],
)
def test_command_fails(arguments: list[str], code: int, text: str) -> None:
    result = CliRunner().invoke(app, ["report", *arguments])
    shown = result.output + str(result.exception or "") + str(getattr(result.exception, "hint", ""))
    assert result.exit_code == code or getattr(result.exception, "exit_code", None) == code
    assert text in shown


def test_command(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    arguments = [str(MODELS / f"{NAME}.onnx"), str(QUANTIZED), "--data", str(DATA)]
    result = CliRunner().invoke(app, ["report", *arguments, "-o", str(path), "-q"])
    assert result.exit_code == 0, result.output
    found = json.loads(path.read_text())
    assert found["data"]["report_samples"] == 500
    assert found["arithmetic"] == "fake-quantized"
    assert found["layers"][0]["isolated_sqnr_db"] < found["layers"][-1]["isolated_sqnr_db"]
    assert {e["result"] for e in found["layers"]} <= found["tensors"].keys()


def test_the_own_report_and_this_one_agree() -> None:
    """On a model that onnxq quantized."""
    feeds = samples(NAME, 40, evaluation=False)
    result = onnxq.quantize(float_model(NAME), data=feeds, target="x86-vnni", recipe="fast")
    held = feeds[-4:]
    found = compare(Model.load(float_model(NAME)), result.model, held)
    mine = {e["node"]: e for e in found["layers"]}
    own = {e["node"]: e for e in result.report["layers"]}
    assert mine.keys() == own.keys()
    for node, entry in own.items():
        for key in ("isolated_sqnr_db", "cumulative_sqnr_db"):
            if entry[key] is None and key == "isolated_sqnr_db":  # not asked for
                continue
            assert mine[node][key] == pytest.approx(entry[key], abs=0.1), (node, key)
