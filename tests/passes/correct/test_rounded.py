"""The quantized model as a target rounds it: the codes of the integer reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.graph import Model
from onnxq.integer import encode, lower, run
from onnxq.passes.correct._rounded import rounded_as
from onnxq.pipeline import Recipe
from onnxq.quant import Rounding
from onnxq.runtime.session import Session
from tests.integer.networks import build

MODELS = Path(__file__).resolve().parents[3] / "models"


@pytest.mark.parametrize("rounding", [Rounding.FLOOR, Rounding.HALF_UP, Rounding.HALF_AWAY])
@pytest.mark.parametrize("name", ["residual", "add_aligned", "concat", "conv_depthwise"])
def test_same_outputs_as_the_reference(name: str, rounding: Rounding) -> None:
    proto = build(name, rounding.value)
    program = lower(Model.load(proto))
    rng = np.random.default_rng(2)
    feed = {
        n: rng.normal(0, 4, (4, *program.values[v].shape[1:])).astype(np.float32)
        for n, v in program.inputs.items()
    }
    codes = run(program, {v: encode(program.values[v], feed[n]) for n, v in program.inputs.items()})
    plain = Session(proto, optimize=False).run(feed)
    rounded_as(proto, rounding)
    onnx.checker.check_model(proto)
    found = Session(proto).run(feed)
    for output, value in program.outputs.items():
        expected = np.float32(codes[value]) * np.float32(program.values[value].scale)
        np.testing.assert_array_equal(found[output], expected)
        assert rounding is not Rounding.FLOOR or np.any(plain[output] != expected)


def test_floor_costs_less_where_biases_make_up_for_it() -> None:
    """The named recipe corrects; the same passes without a name do not."""
    images = np.load(MODELS / "digits_evaluation.npz")["input"][:200]
    real = Session(MODELS / "digits_resnet.onnx").run({"input": images})["logits"]
    errors = []
    for recipe in (Recipe(Recipe.resolve("fast").passes), Recipe.resolve("fast")):
        made = onnxq.quantize(
            MODELS / "digits_resnet.onnx", data=MODELS / "digits_calibration.npz", recipe=recipe,
            target="fpga-pow2", rounding="floor", format="simulate", report_detail="basic",
        )  # fmt: skip
        errors.append(Session(made.model).run({"input": images})["logits"] - real)
    drift, noise = ([float(np.mean(f)) for f in fs] for fs in (
        [np.abs(e.mean(axis=0)) for e in errors], [np.square(e) for e in errors]))  # fmt: skip
    assert noise[1] < 0.9 * noise[0]
    assert drift[1] < 0.5 * drift[0], drift
