"""Moments that follow from batch-norms and weights, against formulas and against samples."""

from __future__ import annotations

from collections.abc import Mapping
from math import erf, exp, pi, sqrt

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from onnxq.calibrate.channel_extremes import ChannelExtremes
from onnxq.calibrate.channel_means import ChannelMeans
from onnxq.calibrate.datafree.observe import from_histogram, observe, of_input
from onnxq.calibrate.datafree.points import COUNT, REACH, Points, normal, quantiles
from onnxq.calibrate.datafree.propagate import Known, Propagation
from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.histogram import Histogram
from onnxq.graph import Model
from onnxq.runtime.probe import probe
from onnxq.testing import random_feeds
from tests.passes.golden import parse

RNG = np.random.default_rng(5)


def points(
    text: str,
    wanted: str,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
    known: Known | None = None,
    measured: Mapping[str, Points] | None = None,
    opset: int = 13,
) -> Points:
    """Points of the tensor *wanted* of *text*, whose input is ``x``, standard normal."""
    proto = onnx.shape_inference.infer_shapes(parse(text, weights, opset=opset))
    facts = probe(Model.load(proto), random_feeds(proto)[0])
    shapes = {name: info.shape for name, info in facts.items()}
    walk = Propagation(
        proto, shapes, set(shapes), {"x": of_input(None, len(shapes["x"]), "x")}, known or {},
        lambda names: dict(measured or {}),
    )  # fmt: skip
    found = dict(walk.run([wanted]))
    assert set(walk.measured) == set(measured or {})
    return found[wanted]


def test_quantiles() -> None:
    assert quantiles().mean() == pytest.approx(0, abs=1e-12)
    assert quantiles().var() == pytest.approx(1)
    assert (quantiles()[0], quantiles()[-1]) == (-REACH, REACH)


@pytest.mark.parametrize(
    ("op", "low", "high"), [("Relu (a)", 0, np.inf), ("Clip (a, l, h)", -1, 2)]
)
def test_clipped_normal(op: str, low: float, high: float) -> None:
    """Nagel et al. 2019, appendix C: the mean of a clipped normal distribution."""
    text = f"""g (float[1,3,4,4] x) => (float[1,3,4,4] y) <float[3,3,1,1] w, float l, float h>
        {{ a = Conv (x, w)  y = {op} }}"""
    mean, deviation = np.array([-1.0, 0.0, 2.0]), np.array([1.0, 2.0, 0.5])
    known = {"a": (mean, deviation)}
    weights = {"l": np.float32(low), "h": np.float32(high)}
    found = points(text, "y", weights, known)
    assert found.shape == (COUNT, 1, 3, 1, 1)

    def phi(t: float) -> float:
        return exp(-t * t / 2) / sqrt(2 * pi) if np.isfinite(t) else 0.0

    def cumulative(t: float) -> float:
        return (1 + erf(t / sqrt(2))) / 2

    for c, (m, s) in enumerate(zip(mean, deviation, strict=True)):
        a, b = (low - m) / s, (high - m) / s
        inside = m * (cumulative(b) - cumulative(a)) - s * (phi(b) - phi(a))
        above = high * (1 - cumulative(b)) if np.isfinite(high) else 0.0
        expected = inside + above + low * cumulative(a)
        assert found[:, 0, c].mean() == pytest.approx(expected, abs=0.03 * s)
        assert found[:, 0, c].max() == pytest.approx(min(m + REACH * s, high), rel=1e-6)


def test_weights_take_inputs_for_independent() -> None:
    text = """g (float[1,6] x) => (float[1,4] y) <float[4,6] w, float[4] b>
        { y = Gemm <transB = 1> (x, w, b) }"""
    w, b = RNG.normal(size=(4, 6)).astype(np.float32), np.arange(4, dtype=np.float32)
    found = points(text, "y", {"w": w, "b": b})
    samples = RNG.normal(size=(100000, 6)) @ w.T + b
    np.testing.assert_allclose(found.mean((0, 1)), samples.mean(0), atol=0.02)
    np.testing.assert_allclose(found.std((0, 1)), samples.std(0), rtol=0.02)


def test_groups_of_a_convolution_read_their_own_channels() -> None:
    text = """g (float[1,4,5,5] x) => (float[1,4,5,5] y) <float[4,4,1,1] v, float[4,1,3,3] w>
        { a = Conv (x, v)  y = Conv <group = 4, pads = [1,1,1,1]> (a, w) }"""
    w = RNG.normal(size=(4, 1, 3, 3)).astype(np.float32)
    mean = np.array([0.0, 1.0, 2.0, -3.0])
    found = points(text, "y", {"w": w}, {"a": (mean, np.zeros(4))})
    np.testing.assert_allclose(found.mean((0, 1, 3, 4)), mean * w.sum((1, 2, 3)), atol=1e-5)


def test_one_source_read_twice_is_one_draw() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
        { s = Sigmoid (x)  m = Mul (x, s)  y = Sub (m, x) }"""
    z = quantiles()
    assert points(text, "m").max() == pytest.approx(REACH / (1 + exp(-REACH)), rel=1e-5)
    expected = np.sort(z / (1 + np.exp(-z)) - z)
    np.testing.assert_allclose(np.sort(points(text, "y").reshape(-1)), expected, atol=1e-5)


def test_a_sum_of_independent_tensors_adds_variances() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,4,4] y) <float[2,2,1,1] w, float[2,2,1,1] v>
        { a = Conv (x, w)  b = Conv (x, v)  y = Add (a, b) }"""
    known = {"a": (np.array([1.0, 2.0]), np.array([3.0, 1.0])), "b": (np.zeros(2), np.ones(2))}
    found = points(text, "y", known=known)
    np.testing.assert_allclose(found.mean((0, 1, 3, 4)), [1, 2], atol=1e-5)
    np.testing.assert_allclose(found.var((0, 1, 3, 4)), [10, 2], rtol=0.1)


MOVED = [
    ("y = Transpose <perm = [0, 2, 3, 1]> (a)", "float[1,2,2,4] y", [0, 1, 2, 3], (1, 1, 1, 4)),
    ("y = Flatten (a)", "float[1,16] y", np.repeat([0, 1, 2, 3], 4), (1, 16)),
    ("p, y = Split <axis = 1> (a)", "float[1,2,2,2] y", [2, 3], (1, 2, 1, 1)),
    ("y = Concat <axis = 1> (a, a)", "float[1,8,2,2] y", [0, 1, 2, 3] * 2, (1, 8, 1, 1)),
    ("y = DepthToSpace <blocksize = 2> (a)", "float[1,1,4,4] y", None, (1, 1, 4, 4)),
]


@pytest.mark.parametrize(("node", "out", "means", "extents"), MOVED)
def test_moves_follow_each_channel(
    node: str, out: str, means: list[int] | None, extents: tuple[int, ...]
) -> None:
    text = f"""g (float[1,4,2,2] x) => ({out}) <float[4,4,1,1] w> {{ a = Conv (x, w)  {node} }}"""
    found = points(text, "y", known={"a": (np.arange(4.0), np.full(4, 0.01))})
    assert found.shape[1:] == extents
    if means is not None:
        np.testing.assert_allclose(found.mean(0).reshape(-1), means, atol=1e-4)


def test_channels_that_are_padded_hold_zeros() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,4,6,6] y)
        <float[2,2,1,1] w, int64[8] p = {0, 1, 1, 1, 0, 1, 1, 1}>
        { a = Conv (x, w)  y = Pad (a, p) }"""
    found = points(text, "y", known={"a": (np.array([5.0, 6.0]), np.full(2, 0.01))})
    np.testing.assert_allclose(found.mean((0, 1, 3, 4)), [0, 5, 6, 0], atol=1e-4)


def test_batchnorm_layernorm_softmax_and_pools() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,1,1] y)
        <float[2] s = {2, 3}, float[2] o = {1, -1}, float[2] m = {0, 0}, float[2] v = {1, 1}>
        { a = BatchNormalization (x, s, o, m, v)  p = MaxPool <kernel_shape = [2, 2]> (a)
          y = GlobalAveragePool (a)  n = Softmax <axis = 1> (a) }"""
    batch = points(text, "a")
    np.testing.assert_allclose(batch.mean((0, 1, 3, 4)), [1, -1], atol=1e-4)
    np.testing.assert_allclose(batch.std((0, 1, 3, 4)), [2, 3], rtol=1e-3)
    assert (points(text, "p").mean(0) > batch.mean(0)).all()
    pooled = points(text, "y")
    np.testing.assert_allclose(pooled.mean(0), batch.mean(0), atol=1e-3)
    assert (pooled.std(0) < 0.6 * batch.std(0)).all()
    shares = points(text, "n")
    assert (shares.min(), shares.max()) == (0, 1)
    assert shares.mean() == pytest.approx(0.5, abs=0.01)


def test_what_no_rule_tells_is_measured() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,4,4] y) { a = CumSum (x, one)  y = Relu (a) }"""
    text = text.replace("=> (float[1,2,4,4] y)", "=> (float[1,2,4,4] y) <int64 one>")
    seen = Histogram().update(Histogram().init(), 0, np.array([-1.0, 3.0], np.float32))
    measured = from_histogram(seen, 4, "a")
    found = points(text, "y", {"one": np.array(1)}, measured={"a": measured})
    assert (found.min(), found.max()) == (0, 3)


def test_estimated_channels_are_not_compared() -> None:
    found = normal(np.array([[1.0, 5.0]]), np.ones((1, 2)), "x")
    channels = ChannelExtremes(1)
    told = observe((channels,), found, (1, 2))[channels]
    guessed = observe((channels,), found, (1, 2), alike=True)[channels]
    np.testing.assert_allclose(told.high, [7, 11], atol=1e-5)
    np.testing.assert_allclose(guessed.high, [11, 11], atol=1e-5)


def test_observers_see_points_as_samples() -> None:
    found = normal(np.array([[1.0, -2.0, 0.0]]), np.array([[1.0, 0.5, 0.0]]), "x")
    states = observe((Extremes(), ChannelMeans(-1), Histogram()), found, (1, 3))
    assert states[Extremes()].bounds == pytest.approx((-5, 7))
    np.testing.assert_allclose(states[ChannelMeans(-1)].mean, [1, -2, 0], atol=1e-5)
    assert states[Histogram()].total == 3 * COUNT
