from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import OptionError
from tests.passes.stages import run

TEXT = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] w, float[2,2,1,1] v, float[1,2,1,1] k>
    { [one] a = Conv (x, w)  [relu] r = Relu (a)  [mul] m = Mul (r, k)  [two] y = Conv (m, v) }"""
WEIGHTS = {
    "w": np.array([[1.27, -0.5], [25.4, 12.7]], np.float32).reshape(2, 2, 1, 1),
    "k": np.array([-1, 3], np.float32).reshape(1, 2, 1, 1),
    "v": np.array([[0, 0], [0.4, 0.7]], np.float32).reshape(2, 2, 1, 1),
}
RECIPE = "plan-kernels,choose-ranges,quantize-weights"


def test_per_channel_and_operands() -> None:
    _, ctx = run(TEXT, RECIPE, weights=WEIGHTS, target="x86-vnni")
    w = ctx.qparams["w"]
    np.testing.assert_allclose(w.scale, [0.01, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(np.ravel(ctx.integers["w"]), [127, -50, 127, 64])
    k = ctx.qparams["k"]
    assert k.dtype.name == "uint8" and k.scale.shape == ()
    np.testing.assert_array_equal(np.ravel(ctx.integers["k"]), [0, 255])


def test_channel_of_zeros() -> None:
    _, ctx = run(TEXT, RECIPE, weights=WEIGHTS, target="x86-vnni")
    v = ctx.qparams["v"]
    assert v.scale[0] == v.scale[1]
    np.testing.assert_array_equal(np.ravel(ctx.integers["v"])[:2], [0, 0])


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_sum_of_pairs(method: str) -> None:
    _, ctx = run(TEXT, f"{RECIPE}{{method={method}}}", weights=WEIGHTS, target="x86")
    codes = np.asarray(ctx.integers["w"], np.int64).reshape(2, 2)
    for row in codes:
        for sign in (1, -1):
            largest = np.sort(np.maximum(sign * row, 0))[-2:]
            assert largest.sum() <= 128


def test_mse_is_never_worse() -> None:
    rng = np.random.default_rng(0)
    wide = """g (float[1,4000] x) => (float[1,8] y) <float[4000,8] w> { [one] y = MatMul (x, w) }"""
    w = rng.standard_t(3, size=(4000, 8)).astype(np.float32)
    errors = []
    for method in ("minmax", "mse"):
        _, ctx = run(wide, f"{RECIPE}{{method={method}}}", weights={"w": w}, target="x86-vnni")
        errors.append(np.square(ctx.qparams["w"].fake(w) - w).sum(0))
    assert np.all(errors[1] <= errors[0] * (1 + 1e-6))
    assert errors[1].sum() < errors[0].sum()


def test_stochastic_rounding_has_no_bias() -> None:
    wide = """g (float[1,9000] x) => (float[1,2] y) <float[9000,2] w> { [one] y = MatMul (x, w) }"""
    w = np.full((9000, 2), [0.3, 6.7], np.float32)
    w[0] = 127  # the scale is 1
    rounded = []
    for seed in (0, 0, 1):
        options = f"{{rounding=stochastic,seed={seed}}}"
        _, ctx = run(wide, RECIPE + options, weights={"w": w}, target="x86-vnni")
        rounded.append(np.asarray(ctx.integers["w"])[1:])
    assert set(np.unique(rounded[0]).tolist()) == {0, 1, 6, 7}
    np.testing.assert_allclose(rounded[0].mean(axis=0), [0.3, 6.7], atol=0.02)
    np.testing.assert_array_equal(rounded[0], rounded[1])
    assert np.any(rounded[0] != rounded[2])


def test_refusals() -> None:
    bad = WEIGHTS | {"w": np.full((2, 2, 1, 1), np.nan, np.float32)}
    with pytest.raises(OptionError, match="NaN or Inf"):
        run(TEXT, RECIPE, weights=bad)
    with pytest.raises(OptionError, match="minmax, mse"):
        run(TEXT, f"{RECIPE}{{method=mes}}")
