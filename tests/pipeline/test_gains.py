"""What an error in a channel becomes behind the readers of a tensor."""

import numpy as np

from onnxq.graph import Model
from onnxq.pipeline.gains import reading_gains
from tests.passes.golden import parse

RNG = np.random.default_rng(0)


def gains(text, **weights):
    model = Model.load(parse(text, weights))
    return reading_gains(model.tensors()["x"], 4)


def test_a_layer_and_its_groups():
    w, v = RNG.normal(size=(6, 4, 3, 3)), RNG.normal(size=(6, 2, 1, 1))
    w, v = w.astype(np.float32), v.astype(np.float32)
    dense = "g (float[1,4,5,5] x) => (float[1,6,3,3] y) <float[6,4,3,3] w> { y = Conv(x, w) }"
    np.testing.assert_allclose(gains(dense, w=w), np.square(w).sum((0, 2, 3)), rtol=1e-5)
    grouped = "g (float[1,4,5,5] x) => (float[1,6,5,5] y) <float[6,2,1,1] v>"
    grouped += " { y = Conv<group=2>(x, v) }"
    expected = [(v[3 * g : 3 * g + 3, c] ** 2).sum() for g in (0, 1) for c in (0, 1)]
    np.testing.assert_allclose(gains(grouped, v=v), expected, rtol=1e-5)


def test_errors_go_on_through_activations_and_depthwise_layers_and_add_up():
    d = RNG.normal(size=(4, 1, 3, 3)).astype(np.float32)
    w = RNG.normal(size=(2, 4, 1, 1)).astype(np.float32)
    text = """g (float[1,4,5,5] x) => (float[1,2,3,3] y, float[1,2,5,5] z)
        <float[4,1,3,3] d, float[2,4,1,1] w>
        { a = Conv<group=4>(x, d) r = Relu(a) y = Conv(r, w) z = Conv(x, w) }"""
    reading = np.square(w).sum((0, 2, 3))
    expected = np.square(d).sum((1, 2, 3)) * reading + reading
    np.testing.assert_allclose(gains(text, d=d, w=w), expected, rtol=1e-5)


def test_nothing_is_said_where_nothing_tells():
    assert gains("g (float[1,4,5,5] x) => (float[1,4,5,5] y) { y = Exp(x) }") is None
