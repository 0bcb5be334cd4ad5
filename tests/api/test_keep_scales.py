"""Models from quantization-aware training: scales and codes stay, and integers compute the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

import onnxq
from onnxq.cli.failures import run
from onnxq.errors import DataError, OptionError, UnsupportedModelError
from onnxq.testing import random_feeds
from tests.api.qat_models import FORMS, Qat, grid, network
from tests.api.support import network as plain_network
from tests.api.support import samples

WIDTHS = [
    {"bits": 8, "weight_bits": 8},
    {"bits": 8, "weight_bits": 8, "signed": True, "per_channel": False},
    {"bits": 7, "weight_bits": 7},
    {"bits": 4, "weight_bits": 4},
]


def outputs(model: onnx.ModelProto, feeds: Any, *, optimize: bool = True) -> list[Any]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    return [session.run(None, dict(feed))[0] for feed in feeds]


def stored(model: onnx.ModelProto) -> dict[str, Any]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def check(given: Qat, **options: Any) -> onnxq.Result:
    """Convert, without data; nothing runs in float, and outputs are within one code."""
    source = network(given)
    result = onnxq.quantize(source, keep_scales=True, target="x86-vnni", **options)
    assert not result.report["kept_float"]
    assert all(layer["kernel"] for layer in result.report["layers"]), result.report["layers"]
    assert result.report["summary"]["integer_macs_percent"] == 100.0
    made = result.model.to_proto()
    codes = {n: v for n, v in stored(made).items() if v.dtype == np.int8 and v.ndim > 1}
    for name, trained in given.codes.items():
        (found,) = (v for n, v in codes.items() if n.startswith(f"{name}__"))
        np.testing.assert_array_equal(np.abs(found), np.abs(trained), name)
    feeds = random_feeds(source, 8)
    reference = replace(given, form="div") if given.form == "quant" else given
    real = outputs(network(fresh(reference)), feeds, optimize=False)
    step = float(grid(-5.0, 5.0, given.bits, signed=given.signed).scale)
    off = np.abs(np.array(real) - np.array(outputs(made, feeds))) / step
    assert off.max() <= 1.01
    assert (off > 0.5).mean() <= 0.15  # biases are rounded to steps of the accumulator
    return result


def fresh(given: Qat) -> Qat:
    """As *given* was, before it wrote its network."""
    return Qat(given.form, given.bits, given.signed, given.per_channel, given.weight_bits)


@pytest.mark.parametrize("widths", WIDTHS)
def test_qdq_as_pytorch_and_brevitas_write_it(widths: dict[str, Any]) -> None:
    report = check(Qat("qdq", **widths)).report
    (note,) = (n for n in report["notes"] if n.startswith("kept from training"))
    assert "grids of 5 of 5 activations" in note and "of 3 weights" in note
    assert (f"5 of {widths['bits']} bits" in note) == (widths["bits"] < 8)
    assert report["summary"]["outputs"][0]["sqnr_db"] > (40 if widths["bits"] > 4 else 12)
    assert report["data"]["calibrated"] is None


@pytest.mark.parametrize("form", [*FORMS[1:], "quant"])
def test_every_form_of_arithmetic(form: str) -> None:
    check(Qat(form))


def test_weights_of_four_bits_are_stored_in_four_where_asked() -> None:
    source = network(Qat("qdq", weight_bits=4))
    wide, packed = (
        onnxq.quantize(source, keep_scales=True, target="x86-vnni", weights=w)
        for w in (None, "int4")
    )
    assert "3 of 4 bits in 8-bit types" in " ".join(wide.report["notes"])
    assert "3 weights (3 of 4 bits);" in " ".join(packed.report["notes"])
    feeds = random_feeds(source, 4)
    one, two = (outputs(r.model.to_proto(), feeds) for r in (wide, packed))
    np.testing.assert_array_equal(one, two)
    kinds = {str(v.dtype) for v in stored(packed.model.to_proto()).values() if v.ndim > 1}
    assert kinds == {"int4"}


def test_narrow_codes_in_operators_on_codes() -> None:
    result = check(Qat("qdq", bits=7), format="qoperator")
    ops = {n.op_type for n in result.model.to_proto().graph.node}
    assert "QLinearConv" in ops and "Clip" in ops


def test_signs_of_batch_norms_turn_codes_of_weights() -> None:
    given = Qat("qdq")
    codes = stored(check(given).model.to_proto())
    (found,) = (
        v for n, v in codes.items() if n.startswith("w1__") and v.dtype == np.int8 and v.ndim > 1
    )
    turned = [np.array_equal(a, -b) for a, b in zip(found, given.codes["w1"], strict=True)]
    alike = [np.array_equal(a, b) for a, b in zip(found, given.codes["w1"], strict=True)]
    assert all(a or t for a, t in zip(alike, turned, strict=True)) and any(turned) and any(alike)


def missing_sum() -> onnx.ModelProto:
    """Training did not round what the second convolution writes."""
    qat = Qat("qdq")
    x = qat.activation("x", "xf", -3.5, 3.5)
    a = qat.node("Conv", [x, qat.weight("w1", (4, 3, 1, 1))], "conv1")
    a = qat.activation(a, "af", -4.0, 4.0)
    b = qat.node("Conv", [a, qat.weight("w2", (4, 4, 1, 1))], "conv2")
    s = qat.activation(qat.node("Add", [a, b], "add"), "sf", -5.0, 5.0)
    y = qat.node("Conv", [s, qat.weight("w3", (2, 4, 1, 1))], "conv3")
    return qat.model(qat.activation(y, "y", -5.0, 5.0), [1, 2, 8, 8])


def test_what_training_did_not_round_is_calibrated_or_refused() -> None:
    source = missing_sum()
    with pytest.raises(DataError, match="1 tensors that layers need on a grid: conv2") as caught:
        onnxq.quantize(source, keep_scales=True)
    assert "--data" in caught.value.hint
    result = onnxq.quantize(source, keep_scales=True, data=random_feeds(source, 20))
    assert all(layer["kernel"] for layer in result.report["layers"])
    assert any("calibrated" in n and "conv2" in n for n in result.report["notes"])
    assert result.report["data"]["calibration_samples"] > 0
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > 25


@pytest.mark.parametrize("form", ["qdq", "div", "quant"])
def test_no_silent_second_quantization(form: str) -> None:
    source = network(Qat(form))
    with pytest.raises(UnsupportedModelError) as caught:
        onnxq.quantize(source, data=random_feeds(source, 2))
    assert "--keep-scales" in caught.value.hint


def test_a_model_without_fake_quantization_has_nothing_to_keep() -> None:
    for data in (None, samples()):
        with pytest.raises(OptionError, match="no fake quantization"):
            onnxq.quantize(plain_network(), keep_scales=True, data=data)
    with pytest.raises(OptionError, match="--keep-scales has no effect"):
        onnxq.quantize(network(Qat()), keep_scales=True, mode="weights")


def test_a_finished_integer_model_moves_to_another_target() -> None:
    """What onnxq itself has written is read back, with biases and integer weights."""
    made = onnxq.quantize(plain_network(), data=samples(), target="x86-vnni", recipe="fast")
    result = onnxq.quantize(made.model, keep_scales=True, target="arm", data=samples())
    before, after = stored(made.model.to_proto()), stored(result.model.to_proto())
    weights = {n: v for n, v in before.items() if v.dtype == np.int8 and v.ndim == 4}
    found = [v for v in after.values() if v.dtype == np.int8 and v.ndim == 4]
    assert len(found) == len(weights) == 3
    for value in weights.values():
        assert any(np.array_equal(value, other) for other in found)
    assert {q.dtype for n, q in stored(result.model.to_proto()).items() if "zero_point" in n} <= {
        np.dtype(np.int8), np.dtype(np.int32)
    }  # fmt: skip


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, made, report = (tmp_path / n for n in ("qat.onnx", "int8.onnx", "r.json"))
    onnx.save(network(Qat()), source)
    arguments = ["quantize", str(source), "--keep-scales", "-o", str(made), "--report", str(report)]
    assert run(arguments) == 0
    assert "kept from training" in " ".join(capsys.readouterr().out.split())
    assert json.loads(report.read_text())["summary"]["integer_macs_percent"] == 100
