import numpy as np
import pytest

from onnxq.errors import OptionError
from onnxq.quant import INT8, UINT8, PerAxis, PerBlock, QParams, QuantSpec, ScaleRule
from onnxq.quant import dtype as find_dtype
from onnxq.quant.choose import qparams_from_range, weight_qparams

U8, S8 = QuantSpec(dtype=UINT8), QuantSpec(dtype=INT8, symmetric=True)


def test_asymmetric_range():
    q = qparams_from_range(-1.0, 4.1, U8)
    assert q.scale == np.float32(5.1 / 255)
    assert q.zero_point == 50
    assert (q.scale.dtype, q.scale.shape, q.zero_point.shape) == (np.float32, (), ())


@pytest.mark.parametrize(("low", "high"), [(2.0, 5.0), (-5.0, -2.0)])
def test_ranges_are_widened_to_hold_zero(low, high):
    q = qparams_from_range(low, high, U8)
    assert q.real_range == pytest.approx((min(low, 0.0), max(high, 0.0)))


def test_symmetric_uses_the_most_negative_code_unless_the_range_is_narrow():
    assert qparams_from_range(-128.0, 1.0, S8).scale == 1.0
    narrow = QuantSpec(dtype=INT8, symmetric=True, narrow_range=True)
    assert qparams_from_range(-127.0, 1.0, narrow).scale == 1.0
    middle = qparams_from_range(-1.0, 1.0, QuantSpec(dtype=UINT8, symmetric=True))
    assert middle.zero_point == 128


def test_power_of_two_scales_are_rounded_up_so_that_nothing_is_clipped():
    spec = QuantSpec(dtype=INT8, symmetric=True, scale=ScaleRule.POWER_OF_TWO)
    assert qparams_from_range(0.0, 127 * 0.25, spec).scale == 0.25
    assert qparams_from_range(0.0, 127 * 0.2501, spec).scale == 0.5


def test_limits_bound_the_range():
    q = qparams_from_range(-3.0, 11.0, QuantSpec(dtype=UINT8, limits=(0.0, 6.0)))
    assert q.real_range == pytest.approx((0.0, 6.0))


@pytest.mark.parametrize("value", [0.0, 1e-40, -1e-30])
def test_ranges_without_extent_get_scale_one(value):
    q = qparams_from_range(value, value, U8)
    assert q.scale == 1.0
    assert q.fake(np.array([value], np.float32)) == 0


@pytest.mark.parametrize(("low", "high"), [(0.0, np.inf), (np.nan, 1.0), (2.0, 1.0)])
def test_no_range_is_an_error(low, high):
    with pytest.raises(OptionError, match="no range"):
        qparams_from_range(low, high, U8)


def test_one_range_cannot_serve_several_channels():
    with pytest.raises(OptionError, match="PerAxis"):
        qparams_from_range(0.0, 1.0, QuantSpec(dtype=UINT8, granularity=PerAxis(0)))


@pytest.mark.parametrize("name", ["int4", "uint4", "int7", "uint8", "int16", "int32"])
def test_codes_saturate_at_the_ends_of_every_format(name):
    kind = find_dtype(name)
    q = QParams(np.array(0.5, np.float32), np.array(0), kind)
    x = np.array([-np.inf, -1e12, 0.0, 1.0, 1e12, np.inf], np.float32)
    codes = q.quantize(x)
    assert codes.dtype == kind.numpy
    expected = [kind.qmin, kind.qmin, 0, 2, kind.qmax, kind.qmax]
    assert codes.astype(np.int64).tolist() == expected
    assert q.quantize(np.float32(1.0).reshape(())).astype(int) == 2


W = np.random.default_rng(0).standard_t(3, (5, 4, 3, 3)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_weights_per_axis_keep_the_axis_named(axis):
    q = weight_qparams(W, S8, axis)
    assert q.scale.shape == (W.shape[axis],)
    others = tuple(i for i in range(4) if i != axis % 4)
    expected = np.maximum(W.max(axis=others) / 127, -W.min(axis=others) / 128)
    np.testing.assert_allclose(q.scale, expected, rtol=1e-6)
    assert np.abs(q.fake(W) - W).max() <= q.scale.max() / 2 * 1.0001


def test_the_spec_names_the_axis_where_none_is_given():
    by_spec = weight_qparams(W, QuantSpec(dtype=INT8, symmetric=True, granularity=PerAxis(1)))
    assert by_spec.axis == 1
    assert weight_qparams(W, S8).scale.shape == ()


def test_dead_channels_take_the_largest_scale_of_the_others():
    w = W.copy()
    w[2] = 0
    scales = weight_qparams(w, S8, 0).scale
    assert scales[2] == np.delete(scales, 2).max()
    assert weight_qparams(np.zeros((3, 4), np.float32), S8, 0).scale.tolist() == [1, 1, 1]


def test_scales_are_not_below_what_a_bias_needs():
    free = weight_qparams(W, S8, 0).scale
    least = np.array([0, free[1] * 2, 0, 0, 0])
    raised = weight_qparams(W, S8, 0, min_scale=least).scale
    np.testing.assert_array_equal(raised, np.maximum(free, least.astype(np.float32)))


def test_mse_weights_clip_an_outlier():
    w = np.random.default_rng(1).normal(size=(2, 4000)).astype(np.float32)
    w[0, 0] = 8.0
    spec = QuantSpec(dtype=S8.dtype, symmetric=True)
    minmax, mse = weight_qparams(w, spec, 0), weight_qparams(w, spec, 0, method="mse")
    assert mse.scale[0] < minmax.scale[0]
    assert np.square(mse.fake(w) - w).sum() < np.square(minmax.fake(w) - w).sum()


def test_pair_limit_leaves_channels_with_one_large_weight_alone():
    w = np.array([[127, 1, 1, -2], [127, 127, 0, 0], [100, -100, 20, -28]], np.float32)
    q = weight_qparams(w, QuantSpec(dtype=INT8, symmetric=True, pair_sum_limit=128), 0)
    assert q.scale.tolist() == pytest.approx([1.0, 254 / 128, 1.0])
    free = weight_qparams(w, S8, 0)
    assert free.scale[2] == pytest.approx(100 / 127)


@pytest.mark.parametrize(
    ("spec", "kwargs", "text"),
    [
        (QuantSpec(dtype=INT8, granularity=PerBlock(0, 32)), {}, "blocks"),
        (S8, {"method": "median"}, "median"),
        (QuantSpec(dtype=UINT8, pair_sum_limit=128), {}, "pair_sum_limit"),
    ],
)
def test_what_cannot_be_done_is_refused(spec, kwargs, text):
    with pytest.raises(OptionError, match=text):
        weight_qparams(W, spec, **kwargs)


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(OptionError, match="NaN or Inf"):
        weight_qparams(np.array([[1.0, np.nan]], np.float32), S8, 0)
