"""Golden test of whole-float-gates."""

from __future__ import annotations

import numpy as np

from onnxq.graph import Model
from onnxq.runtime.session import Session
from onnxq.testing import random_feeds
from tests.passes.golden import parse
from tests.passes.stages import run

SCALED = """g (float[1,4,6,6] x) => (float[1,4,6,6] y)
    <float[4,4,1,1] w, float[4,1,3,3] d, float[1,4,1,1] k> {
    [first] a = Conv (x, w)  [scale] s = Mul (a, k)  [sig] p = Sigmoid (s)  [gate] b = Mul (a, p)
    [dw] y = Conv <group = 4, pads = [1,1,1,1]> (b, d) }"""
K = np.array([1, 0.5, 0.25, 0.1], np.float32).reshape(1, 4, 1, 1)
RECIPE = (
    'exclude-nodes{patterns=["dw"]},plan-kernels,choose-ranges,quantize-weights,quantize-biases,'
    "insert-qdq"
)


def both(text: str) -> tuple[Model, Model]:
    """*text* quantized without and with the pass, which changes no answer."""
    before, _ = run(text, RECIPE, weights={"k": K})
    after, _ = run(text, f"{RECIPE},whole-float-gates", weights={"k": K})
    feeds = random_feeds(parse(text, {"k": K}))
    for feed in feeds[:2]:
        one, two = (Session(m, optimize=False).run(feed)["y"] for m in (before, after))
        np.testing.assert_allclose(two, one, atol=1e-5)
    return before, after


def test_a_factor_goes_back_into_the_weights() -> None:
    before, after = both(SCALED)
    given, taken = (m.tensors()["d"].values for m in (before, after))
    np.testing.assert_allclose(taken, given / K.reshape(4, 1, 1, 1), rtol=1e-6)
    gates = [next(n for n in m.nodes() if n.name == "gate") for m in (before, after)]
    assert [gate.inputs[0].name for gate in gates] == ["a", "s"]


def test_declines() -> None:
    read_elsewhere = SCALED.replace("[dw] y =", "[dw] z =").replace(
        "(b, d) }", "(b, d)  [sum] y = Add (z, b) }"
    )
    recipe = RECIPE.replace('"dw"', '"dw", "sum"')
    before, _ = run(read_elsewhere, recipe, weights={"k": K})
    after, _ = run(read_elsewhere, f"{recipe},whole-float-gates", weights={"k": K})
    for model in (before, after):
        (gate,) = (n for n in model.nodes() if n.name == "gate")
        assert gate.inputs[0].name == "a"
