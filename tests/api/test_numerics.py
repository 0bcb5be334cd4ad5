"""Awkward numbers: overflowing biases, dead channels, constants, tiny and empty ranges."""

from __future__ import annotations

import numpy as np
import pytest

import onnxq
from onnxq.runtime.coverage import kernels
from onnxq.testing import random_feeds
from tests.passes.golden import outputs, parse

CONV = """g (float[1,3,6,6] x) => (float[1,4,6,6] y)
    <float[4,3,1,1] w, float[4] b, float[4,4,1,1] v>
    { [one] a = Conv (x, w, b)  [relu] r = Relu (a)  [two] y = Conv (r, v) }"""


def sqnr(text: str, weights: dict[str, np.ndarray], scale: float = 1.0, **options: object) -> float:
    """SQNR of the first output in dB; every planned node has to be an integer kernel."""
    source = parse(text, weights)
    data = [
        {k: (v * scale).astype(v.dtype) for k, v in f.items()} for f in random_feeds(source, 12)
    ]
    result = onnxq.quantize(source, data=data, target="x86", **options)
    found = kernels(result.model)
    assert result.ctx.plan.nodes
    assert not [n for n in result.ctx.plan.nodes if n not in found]
    noise = signal = 0.0
    for feed in data:
        (real, *_), (other, *_) = outputs(source, feed), outputs(result.model.to_proto(), feed)
        assert np.isfinite(other).all()
        noise += float(np.square(other.astype(np.float64) - real).sum())
        signal += float(np.square(real.astype(np.float64)).sum())
    return 10 * np.log10(signal / max(noise, 1e-300)) if signal else 999.0


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


RECIPES = pytest.mark.parametrize("recipe", ["fast", "balanced"])


@RECIPES
def test_bias_beyond_32_bits(recipe: str) -> None:
    w = array(4, 3, 1, 1) * np.float32(1e-9)
    assert sqnr(CONV, {"w": w, "b": np.float32([5, -3, 1, 2])}, recipe=recipe) > 25


@RECIPES
def test_dead_channels(recipe: str) -> None:
    w = array(4, 3, 1, 1)
    w[1] = w[3] = 0
    assert sqnr(CONV, {"w": w, "b": np.float32([0.5, 0.3, 0.1, 0])}, recipe=recipe) > 25


@RECIPES
def test_all_zero_weight(recipe: str) -> None:
    zeros = np.zeros((4, 3, 1, 1), np.float32)
    assert sqnr(CONV, {"w": zeros, "b": np.float32([0.5, 0.3, 0.1, 1])}, recipe=recipe) > 25
    assert sqnr(CONV, {"w": zeros, "b": np.zeros(4, np.float32)}, recipe=recipe) == 999


@RECIPES
@pytest.mark.parametrize("value", [1.0, -0.25, 1e-6, 1e6])
def test_weight_of_one_value(recipe: str, value: float) -> None:
    w = np.full((4, 3, 1, 1), value, np.float32)
    assert sqnr(CONV, {"w": w, "b": np.zeros(4, np.float32)}, recipe=recipe) > 20


@RECIPES
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_inputs_of_any_magnitude(recipe: str, scale: float) -> None:
    text = CONV.replace(", b)", ")").replace(", float[4] b", "")
    assert sqnr(text, {"w": array(4, 3, 1, 1)}, scale, recipe=recipe) > 25


@RECIPES
def test_channels_of_very_different_size(recipe: str) -> None:
    w = array(4, 3, 1, 1) * np.float32([[[[1e-6]]], [[[1]]], [[[1e3]]], [[[1e-20]]]])
    assert sqnr(CONV, {"w": w, "b": np.float32([0, 1, -2, 0])}, recipe=recipe) > 25


@RECIPES
def test_constants_beside_activations(recipe: str) -> None:
    text = """g (float[1,4,6,6] x) => (float[1,4,6,6] y)
        <float[4,4,1,1] w, float[1] k, float zero, float[1,4,1,1] m, float[4,4,1,1] v>
        { [one] a = Conv (x, w)  [add] s = Add (k, a)  [none] t = Add (s, zero)
          [mul] p = Mul (t, m)  [neg] n = Neg (t)  [two] q = Conv (p, v)  [sum] y = Add (q, n) }"""
    weights = {"k": np.float32([0.5]), "zero": np.float32(0), "m": array(1, 4, 1, 1)}
    assert sqnr(text, weights, recipe=recipe) > 22


@RECIPES
def test_silent_activations(recipe: str) -> None:
    """Behind Relu nothing is left: the range is empty."""
    weights = {"w": -np.abs(array(4, 3, 1, 1)), "b": np.full(4, -100, np.float32)}
    assert sqnr(CONV, weights, recipe=recipe) == 999


def test_inputs_of_one_value() -> None:
    source = parse(CONV)
    for value in (0.0, 3.5, -1.0):
        data = [{"x": np.full((1, 3, 6, 6), value, np.float32)}] * 12
        result = onnxq.quantize(source, data=data, target="x86")
        (real,), (other,) = outputs(source, data[0]), outputs(result.model.to_proto(), data[0])
        np.testing.assert_allclose(other, real, atol=0.03 * np.abs(real).max())
