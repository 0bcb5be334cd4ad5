"""Grids of training in a target's formats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.passes.plan._trained import activation_qparams, weight_qparams
from onnxq.pipeline.trained import TrainedGrid, TrainedWeight
from onnxq.quant import INT8, UINT8, PerAxis, QParams, QuantSpec, ScaleRule

SPEC = QuantSpec(dtype=INT8, granularity=PerAxis(0), symmetric=True, narrow_range=True)


def codes_of(value: Any, weight: TrainedWeight, spec: QuantSpec = SPEC) -> tuple[QParams, Any]:
    found = weight_qparams(value, weight, spec)
    assert not isinstance(found, str), found
    codes = np.moveaxis(found[0].quantize(value), found[0].axis or 0, 0)
    np.testing.assert_array_equal(codes.reshape(found[1].shape), np.clip(found[1], -128, 127))
    return found


@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 7, 8]), st.booleans())
def test_folding_a_batch_norm_keeps_codes_and_multiplies_scales(
    seed: int, bits: int, per_channel: bool
) -> None:
    rng = np.random.default_rng(seed)
    top = (1 << (bits - 1)) - 1
    steps = rng.integers(-top, top + 1, (5, 3, 2, 2))
    steps[1] = 0
    scale = rng.uniform(1e-3, 1, (5, 1, 1, 1) if per_channel else ()).astype(np.float32)
    weight = TrainedWeight(steps, np.broadcast_to(np.float64(scale), steps.shape), bits)
    factor = 10 ** rng.uniform(-3, 3, 5) * rng.choice([-1, 1], 5)
    folded = (weight.values * factor.reshape(-1, 1, 1, 1)).astype(np.float32)
    qparams, codes = codes_of(folded, weight)
    sign = np.sign(factor).astype(int).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(codes, (sign * steps).reshape(5, -1))
    expected = np.broadcast_to(scale.reshape(-1), (5,)) * np.abs(factor)
    alive = np.arange(5) != 1
    np.testing.assert_allclose(qparams.scale[alive], expected[alive], rtol=1e-6)


def test_an_untouched_weight_keeps_its_very_scales() -> None:
    weight = TrainedWeight(np.array([[1, -3], [2, 0]]), np.full((2, 2), np.float32(0.1)), 4)
    qparams, _ = codes_of(weight.values, weight)
    np.testing.assert_array_equal(qparams.scale, np.full(2, 0.1, np.float32))
    turned, codes = codes_of(weight.values.T, weight, replace(SPEC, granularity=PerAxis(1)))
    assert turned.axis == 1
    assert codes.tolist() == [[1, -3], [2, 0]]


@pytest.mark.parametrize(
    ("steps", "change", "spec", "reason"),
    [
        ([[1, 2], [3, 4]], [[1.0, 2.0], [1.0, 1.0]], SPEC, "no multiple"),
        ([[200, 2], [3, 4]], 1.0, SPEC, "are not in int8"),
        ([[1, 2], [3, 4]], 1.0, replace(SPEC, scale=ScaleRule.POWER_OF_TWO), "no powers of two"),
    ],
)
def test_weights_that_cannot_be_kept(steps: Any, change: Any, spec: QuantSpec, reason: str) -> None:
    weight = TrainedWeight(np.array(steps), np.full((2, 2), 0.1), 8)
    value = (weight.values * np.array(change)).astype(np.float32)
    assert reason in str(weight_qparams(value, weight, spec))


def test_minus_128_in_a_channel_that_turns_is_off_by_one() -> None:
    weight = TrainedWeight(np.array([[-128, 5]]), np.full((1, 2), 0.1), 8)
    qparams, codes = codes_of(-weight.values, weight)
    assert codes.tolist() == [[128, -5]]
    assert qparams.quantize(-weight.values).tolist() == [[127, -5]]


def test_an_operand_without_negative_values_has_all_codes_above_zero() -> None:
    weight = TrainedWeight(np.array([[0, 255]]), np.full((1, 2), 0.1), 8)
    found = weight_qparams(weight.values, weight, QuantSpec(dtype=UINT8))
    assert not isinstance(found, str)
    assert found[0].quantize(weight.values).tolist() == [[0, 255]]


@pytest.mark.parametrize("name", ["full", "seven", "four", "narrow", "high"])
@pytest.mark.parametrize("dtype", [INT8, UINT8])
def test_activations_stand_for_the_same_values(name: str, dtype: Any) -> None:
    zero, low, high = {
        "full": (3, 0, 255), "seven": (64, 0, 127), "four": (0, -8, 7), "narrow": (0, -127, 127),
        "high": (0, 0, 255),
    }[name]  # fmt: skip
    found = activation_qparams(TrainedGrid(0.1, zero, low, high), QuantSpec(dtype=dtype), None)
    assert isinstance(found, QParams)
    x = np.linspace(-40, 40, 999, dtype=np.float32)
    trained = (np.clip(np.rint(x / np.float32(0.1)) + zero, low, high) - zero) * np.float32(0.1)
    np.testing.assert_array_equal(found.fake(x), trained.astype(np.float32))


def test_limits_narrow_codes_as_the_activation_clamps() -> None:
    grid = TrainedGrid(0.25, 128, 0, 255)
    found = activation_qparams(grid, QuantSpec(dtype=UINT8), (0.0, 6.0))
    assert isinstance(found, QParams) and found.codes == (128, 152)
    x = np.linspace(-40, 40, 999, dtype=np.float32)
    plain = activation_qparams(grid, QuantSpec(dtype=UINT8), None)
    assert isinstance(plain, QParams)
    np.testing.assert_array_equal(found.fake(x), plain.fake(np.clip(x, 0, 6)))


def test_activations_that_cannot_be_kept() -> None:
    grid = TrainedGrid(0.1, 0, 0, 255)
    symmetric = QuantSpec(dtype=INT8, symmetric=True)
    assert "not in int8" in str(activation_qparams(grid, symmetric, None))
    shifts = QuantSpec(dtype=UINT8, scale=ScaleRule.POWER_OF_TWO)
    assert "no power of two" in str(activation_qparams(grid, shifts, None))
    assert isinstance(activation_qparams(replace(grid, scale=0.125), shifts, None), QParams)
