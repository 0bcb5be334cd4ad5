from __future__ import annotations

import numpy as np

from onnxq.pipeline import Context
from tests.passes.stages import run

TEXT = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] w, float[2] b> { [one] y = Conv (x, w, b) }"""
W = np.array([[1, 0.5], [2, 1]], np.float32).reshape(2, 2, 1, 1)
X = {"x": np.linspace(0, 2.55, 32, dtype=np.float32).reshape(1, 2, 4, 4)}
RECIPE = "plan-kernels,choose-ranges,quantize-weights,quantize-biases"


def quantized(b: list[float], w: np.ndarray = W, target: str = "x86-vnni") -> Context:
    weights = {"w": w, "b": np.array(b, np.float32)}
    return run(TEXT, RECIPE, weights=weights, data=[X], target=target)[1]


def test_scale_of_the_accumulator() -> None:
    ctx = quantized([1.0, -3.0])
    scale = ctx.qparams["b"].scale
    np.testing.assert_allclose(scale, 0.01 * ctx.qparams["w"].scale, rtol=1e-6)
    assert np.asarray(ctx.integers["b"]).dtype == np.int32
    np.testing.assert_array_equal(ctx.integers["b"], np.rint([1.0, -3.0] / scale))
    assert not ctx.journal.warnings


def test_overflow_raises_the_weight_scale() -> None:
    before = quantized([1.0, 1.0]).qparams["w"].scale
    ctx = quantized([1e9, 1.0])
    after = ctx.qparams["w"].scale
    assert after[0] > before[0] and after[1] == before[1]
    real = np.asarray(ctx.integers["b"]) * ctx.qparams["b"].scale.astype(np.float64)
    np.testing.assert_allclose(real, [1e9, 1.0], rtol=1e-2)
    assert any("'b' would overflow" in w and "1 channel of" in w for w in ctx.journal.warnings)
    np.testing.assert_array_equal(ctx.integers["w"], ctx.qparams["w"].quantize(W))


def test_dead_channel_keeps_its_bias() -> None:
    w = W.copy()
    w[0] = 0
    ctx = quantized([0.123, -3.0], w)
    real = np.asarray(ctx.integers["b"]) * ctx.qparams["b"].scale.astype(np.float64)
    np.testing.assert_allclose(real, [0.123, -3.0], atol=1e-4)


def test_weight_of_zeros_keeps_its_bias() -> None:
    ctx = quantized([0.123, -3.0], np.zeros_like(W))
    real = np.asarray(ctx.integers["b"]) * ctx.qparams["b"].scale.astype(np.float64)
    np.testing.assert_allclose(real, [0.123, -3.0], atol=1e-3)


def test_tiny_weights_keep_their_bias() -> None:
    ctx = quantized([0.123, -3.0], (W * 1e-12).astype(np.float32))
    real = np.asarray(ctx.integers["b"]) * ctx.qparams["b"].scale.astype(np.float64)
    np.testing.assert_allclose(real, [0.123, -3.0], rtol=1e-2)


def test_groups_of_a_transposed_convolution_share_scales() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,4,4,4] y)
    <float[2,2,1,1] w, float[4] b> { [one] y = ConvTranspose <group = 2> (x, w, b) }"""
    b = np.array([1, -3, 1e9, 2], np.float32)
    ctx = run(text, RECIPE, weights={"w": W, "b": b}, data=[X], target="generic")[1]
    scale, of_weight = ctx.qparams["b"].scale, ctx.qparams["w"].scale
    assert (scale.shape, of_weight.shape) == ((4,), (2,))
    np.testing.assert_allclose(scale, np.tile(ctx.qparams["x"].scale * of_weight, 2), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(ctx.integers["b"]) * scale.astype(np.float64), b,
                               rtol=1e-2, atol=scale.max())  # fmt: skip


def test_left_alone_where_the_target_wants_float() -> None:
    ctx = quantized([1.0, -3.0], target="tensorrt")
    assert "b" not in ctx.qparams
    assert "b" not in ctx.integers


def test_a_dead_channel_with_hardly_a_bias_has_a_scale() -> None:
    """A scale that float32 does not hold would make codes that are not numbers."""
    w = W.copy()
    w[0] = 0
    ctx = quantized([1e-40, -3.0], w)
    assert (ctx.qparams["b"].scale > 0).all()
    real = np.asarray(ctx.integers["b"]) * ctx.qparams["b"].scale.astype(np.float64)
    np.testing.assert_allclose(real, [0.0, -3.0], atol=1e-4)
