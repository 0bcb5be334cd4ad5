"""Quantizing without data."""

from __future__ import annotations

import re

import numpy as np
import pytest

import onnxq
from onnxq.api.without_data import input_ranges
from onnxq.errors import OptionError, UnknownNameError
from onnxq.pipeline.scaled import scale_factors
from tests.api.support import network, samples

LENET, PIXELS = "models/lenet_mnist.onnx", {"input": (0.0, 255.0)}
REAL = "models/mnist_evaluation.npz"


def sqnr(result: onnxq.Result) -> float:
    return float(result.report["summary"]["outputs"][0]["sqnr_db"])


def test_batchnorms_give_ranges_that_random_numbers_do_not() -> None:
    free = onnxq.quantize(
        LENET, data_free=True, input_range=PIXELS, report_data=REAL, report_detail="basic"
    )
    random = onnxq.quantize(
        LENET, random_data=True, input_range=PIXELS, report_data=REAL, report_detail="basic"
    )
    assert sqnr(free) > 30
    assert sqnr(free) > sqnr(random) + 15
    assert free.report["summary"]["integer_macs_percent"] == 100
    assert float(free.ctx.qparams["input"].scale) == pytest.approx(1)


def test_report_and_metadata_say_so() -> None:
    result = onnxq.quantize(LENET, data_free=True)
    data = result.report["data"]
    assert (data["data_free"], data["synthetic"], data["calibrated"]) == (True, True, False)
    assert (data["calibration_samples"], data["held_out"]) == (0, None)
    assert data["report_samples"] > 0
    assert "data-free" in result.model.metadata["onnxq.calibrated"]
    warnings = "\n".join(result.warnings)
    assert "errors in this report are those on synthetic input" in warnings
    assert "values of 'input' are assumed to be standard normal" in warnings
    judged = onnxq.quantize(
        LENET, data_free=True, input_range=PIXELS, report_data=REAL, report_detail="basic"
    )
    assert judged.report["data"]["synthetic"] is False
    assert "synthetic" not in "\n".join(judged.warnings)
    assert "standard normal" not in "\n".join(judged.warnings)


def test_without_batchnorms_moments_go_through_the_weights() -> None:
    result = onnxq.quantize(network(), data_free=True, report_data=samples(), target="x86")
    assert sqnr(result) > 15
    assert any("3 of 3 layers have no batch-norm" in w for w in result.warnings)
    again = onnxq.quantize(network(), data_free=True, report_data=samples(), target="x86")
    assert result.model.to_proto() == again.model.to_proto()


def test_equalized_channels_keep_their_moments() -> None:
    """Factors on channels are factors on what batch-norms said of them."""
    result = onnxq.quantize(
        LENET, data_free=True, input_range=PIXELS, report_data=REAL, report_detail="basic"
    )
    factors = scale_factors(result.original)
    assert max(f.max() for f in factors.values()) > 1.2
    recipe = onnxq.Recipe.resolve("balanced")
    plain = onnxq.Recipe(tuple(p for p in recipe.passes if "equalize" not in p.name))
    without = onnxq.quantize(
        LENET,
        data_free=True,
        input_range=PIXELS,
        report_data=REAL,
        recipe=plain,
        report_detail="basic",
    )
    assert sqnr(result) > sqnr(without)


def test_best_leaves_out_what_needs_samples() -> None:
    result = onnxq.quantize(network(), data_free=True, recipe="best", target="x86")
    notes = "\n".join(result.report["notes"])
    left_out = re.search("left out, for it needs samples: (.+)", notes)
    assert left_out is not None
    needing = {"search-ranges", "round-second-order", "correct-biases-empirical"}
    assert needing <= set(left_out[1].split(", "))
    names = [p.name for p in onnxq.Recipe.parse(result.report["passes"]).passes]
    assert "correct-biases" in names and "correct-biases-empirical" not in names


def test_refusals() -> None:
    with pytest.raises(OptionError, match="does without --data"):
        onnxq.quantize(network(), data=samples(), data_free=True)
    with pytest.raises(OptionError, match="--input-range has no effect"):
        onnxq.quantize(network(), data=samples(), input_range={"x": (0, 1)})
    with pytest.raises(UnknownNameError, match="input"):
        onnxq.quantize(network(), data_free=True, input_range={"X": (0, 1)})
    with pytest.raises(OptionError, match="is no range"):
        onnxq.quantize(network(), data_free=True, input_range={"x": (1, np.nan)})
    with pytest.raises(OptionError, match="cannot be read"):
        input_ranges(["x=1"])
    assert input_ranges(["a=b=-2.1:2.6"]) == {"a=b": (-2.1, 2.6)}


def test_auto_needs_samples() -> None:
    with pytest.raises(OptionError, match="compares methods on samples"):
        onnxq.quantize(network(), data_free=True, calibration="auto")
    result = onnxq.quantize(network(), data=samples(), calibration="auto", recipe="fast")
    entries = [t["choice"] for t in result.report["tensors"].values() if "choice" in t]
    assert entries
    assert all(e["method"] in e["noise_to_signal"] and e["reason"] for e in entries)
