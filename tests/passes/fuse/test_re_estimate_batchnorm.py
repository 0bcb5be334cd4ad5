"""Means and variances measured anew, one BatchNormalization after the other."""

from __future__ import annotations

import numpy as np
import onnx.numpy_helper
import pytest
from numpy.typing import NDArray

import onnxq
from tests.passes.golden import outputs, parse
from tests.passes.stages import run

RNG = np.random.default_rng(3)
TWO = """g (float[1,3,8,8] x) => (float[1,2,8,8] y)
    <float[4,3,1,1] w, float[4] s, float[4] o, float[4] m, float[4] var,
     float[2,4,1,1] v, float[2] s2, float[2] o2, float[2] m2, float[2] var2>
    { [one] a = Conv (x, w)  [bn1] b = BatchNormalization (a, s, o, m, var)  [relu] r = Relu (b)
      [two] c = Conv (r, v)  [bn2] y = BatchNormalization (c, s2, o2, m2, var2) }"""
DATA = [{"x": RNG.normal(2, 3, (1, 3, 8, 8)).astype(np.float32)} for _ in range(8)]


def stored(model: onnxq.Model, name: str) -> NDArray[np.float32]:
    tensors = model.tensors()
    return np.asarray((tensors.get(f"{name}__measured") or tensors[name]).values)


def test_each_is_measured_behind_those_before_it() -> None:
    model, _ = run(TWO, "re-estimate-batchnorm", data=DATA)
    proto = model.to_proto()
    results = np.concatenate([outputs(proto, feed)[0] for feed in DATA])
    # behind the last one: its own scale and bias, which it gives to what is centred
    np.testing.assert_allclose(results.mean((0, 2, 3)), stored(model, "o2"), atol=2e-3)
    np.testing.assert_allclose(results.std((0, 2, 3)), np.abs(stored(model, "s2")), rtol=2e-3)


def test_the_own_data_of_a_network_changes_next_to_nothing() -> None:
    once, _ = run(TWO, "re-estimate-batchnorm", data=DATA)
    found = {t.name: onnx.numpy_helper.to_array(t) for t in once.to_proto().graph.initializer}
    weights = {name.removesuffix("__measured"): value for name, value in found.items()}
    again, _ = run(TWO, "re-estimate-batchnorm", weights=weights, data=DATA)
    for name in ("m", "var", "m2", "var2"):
        np.testing.assert_allclose(stored(again, name), stored(once, name), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TWO.replace("[1,3,8,8]", "[1,3,2,2]").replace("[1,2,8,8]", "[1,2,2,2]"), "32 values"),
        (TWO.replace("(a, s, o, m, var)", "<spatial = 0> (a, s, o, m, var)"), "spatial=0"),
    ],
)
def test_declines(text: str, reason: str) -> None:
    size = 2 if "[1,3,2,2]" in text else 8
    data = [{"x": feed["x"][:, :, :size, :size]} for feed in DATA]
    opset = 7 if "spatial" in text else 13
    model, ctx = run(text, "re-estimate-batchnorm", data=data, opset=opset)
    before = {t.name: onnx.numpy_helper.to_array(t) for t in parse(text).graph.initializer}
    np.testing.assert_array_equal(stored(model, "m"), before["m"])
    found = {d.node: d.reason for d in ctx.journal.declines}
    assert reason in found["bn1"]


def test_in_a_recipe_of_quantize() -> None:
    recipe = onnxq.Recipe.resolve("balanced")
    at = [p.name for p in recipe.passes].index("fuse-batchnorm")
    mine = onnxq.Recipe.parse("re-estimate-batchnorm").passes
    recipe = onnxq.Recipe((*recipe.passes[:at], *mine, *recipe.passes[at:]))
    network = "models/digits_resnet.onnx"
    result = onnxq.quantize(network, data="models/digits_calibration.npz", recipe=recipe)
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > 20
    assert "re-estimate-batchnorm" in result.model.metadata["onnxq.recipe"]
