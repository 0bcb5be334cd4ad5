import numpy as np
import pytest

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.histogram import Histogram
from onnxq.errors import OptionError, UnknownNameError
from onnxq.quant import INT8, UINT8, QuantSpec, RangeOptions, choose_range
from onnxq.quant import dtype as find_dtype
from onnxq.quant.choose import qparams_from_range
from onnxq.quant.ranges import HISTOGRAM_METHODS, RANGE_METHODS

U8, S8 = QuantSpec(dtype=UINT8), QuantSpec(dtype=INT8, symmetric=True)
RNG = np.random.default_rng(0)
SHAPES = {
    "relu": np.maximum(RNG.normal(size=50_000), 0),
    "normal": RNG.normal(size=50_000),
    "skewed": RNG.gamma(2, size=50_000) - 0.3,
    "negative": -np.abs(RNG.normal(size=50_000)),
}


def histogram(x):
    observer = Histogram(values=1 << 20)
    return observer.update(observer.init(), 0, np.asarray(x, np.float32))


def extremes(*samples):
    observer = Extremes()
    state = observer.init()
    for i, x in enumerate(samples):
        state = observer.update(state, i, np.array(x, np.float32))
    return state


def loss(x, bounds, spec):
    return float(np.square(qparams_from_range(*bounds, spec).fake(x) - x).mean())


def test_extremes_methods():
    state = extremes([0, 1], [-2, 3], [-1, 8])
    assert choose_range("minmax", state, None, U8) == (-2, 8)
    assert choose_range("minmax-mean", state, None, U8) == (-1, 4)
    low = high = None
    for a, b in ((0.0, 1.0), (-2.0, 3.0), (-1.0, 8.0)):
        low = a if low is None else low + 0.01 * (a - low)
        high = b if high is None else high + 0.01 * (b - high)
    assert choose_range("moving-average", state, None, U8) == pytest.approx((low, high))
    fast = RangeOptions(momentum=1.0)
    assert choose_range("moving-average", state, None, U8, fast) == (-1, 8)


def test_minmax_from_either_measurement():
    assert choose_range("minmax", None, histogram([-1.5, 7]), U8) == (-1.5, 7)


@pytest.mark.parametrize("percent", [99.0, 99.9, 100.0])
def test_percentile_leaves_out_that_share_on_either_side(percent):
    x = SHAPES["normal"].astype(np.float32)
    low, high = choose_range("percentile", None, histogram(x), U8, RangeOptions(percentile=percent))
    expected = np.percentile(x, [100 - percent, percent])
    np.testing.assert_allclose([low, high], expected, atol=0.01)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("spec", [U8, S8], ids=["uint8", "int8"])
def test_mse_is_near_the_best_of_a_dense_search(name, spec):
    x = SHAPES[name].astype(np.float32)
    found = choose_range("mse", None, histogram(x), spec)
    factors = np.linspace(0.4, 1.0, 31)
    pairs = [(a, b) for a in factors for b in factors] if spec is U8 else [(a, a) for a in factors]
    if x.min() >= 0 or x.max() <= 0:
        pairs = [(a, a) for a in factors]
    sample = x[:5000]
    best = min(pairs, key=lambda f: loss(sample, (x.min() * f[0], x.max() * f[1]), spec))
    least = loss(x, (x.min() * best[0], x.max() * best[1]), spec)
    assert loss(x, found, spec) <= least * 1.03


def test_mse_clips_far_outliers_of_few_bits():
    x = np.append(RNG.normal(size=100_000), 60.0).astype(np.float32)
    spec = QuantSpec(dtype=find_dtype("uint4"))
    low, high = choose_range("mse", None, histogram(x), spec)
    assert high < 10
    assert loss(x, (low, high), spec) < loss(x, (float(x.min()), 60.0), spec) / 3


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("spec", [U8, S8], ids=["uint8", "int8"])
def test_entropy_keeps_the_bulk_of_well_behaved_tensors(name, spec):
    x = SHAPES[name].astype(np.float32)
    low, high = choose_range("entropy", None, histogram(x), spec)
    assert ((x < low) | (x > high)).mean() < 0.002
    assert loss(x, (low, high), spec) < 1.5 * loss(x, (float(x.min()), float(x.max())), spec)


def test_entropy_leaves_out_outliers_on_either_side_alone():
    bulk = RNG.normal(size=100_000)
    right = np.append(bulk, [80.0]).astype(np.float32)
    low, high = choose_range("entropy", None, histogram(right), U8)
    assert high < 30
    assert low < -3.5
    left = choose_range("entropy", None, histogram(-right), U8)
    assert left == pytest.approx((-high, -low), abs=0.5)


def test_entropy_is_not_ruled_by_a_spike_of_zeros():
    x = np.maximum(RNG.normal(size=100_000) - 1.5, 0).astype(np.float32)
    assert (x == 0).mean() > 0.9
    _, high = choose_range("entropy", None, histogram(x), U8)
    assert (x > high).mean() < 0.002


def test_entropy_with_a_code_for_each_bin_keeps_everything():
    x = SHAPES["normal"].astype(np.float32)
    spec = QuantSpec(dtype=find_dtype("uint16"))
    assert choose_range("entropy", None, histogram(x), spec) == (x.min(), x.max())


@pytest.mark.parametrize("method", HISTOGRAM_METHODS)
@pytest.mark.parametrize("value", [0.0, 3.25, -7.5, 1e-38])
def test_constant_tensors(method, value):
    low, high = choose_range(method, None, histogram(np.full(100, value)), U8)
    x = np.full(1, value, np.float32)
    error = np.abs(qparams_from_range(low, high, U8).fake(x) - x)
    assert error <= abs(value) / 255 + 1e-30


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("method", ["mse", "entropy"])
def test_ends_stay_in_order_where_zero_lies_outside(method, sign):
    x = np.append(RNG.uniform(0.114, 0.116, 5000), 0.117).astype(np.float32)
    spec = QuantSpec(dtype=find_dtype("uint2"))
    low, high = choose_range(method, None, histogram(sign * x), spec)
    assert low <= high
    assert x.min() * 0.9 <= max(abs(low), abs(high)) <= x.max() * 1.001


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_tensors_without_values_have_an_empty_range(method):
    assert choose_range(method, Extremes().init(), Histogram(values=1 << 20).init(), U8) == (
        0.0,
        0.0,
    )


def test_errors_name_the_method():
    with pytest.raises(UnknownNameError, match="entrpy") as caught:
        choose_range("entrpy", extremes([1]), None, U8)
    assert "entropy" in caught.value.near
    with pytest.raises(OptionError, match="needs histogram"):
        choose_range("mse", extremes([1]), None, U8)
    with pytest.raises(OptionError, match=r"percentile=100\.5"):
        RangeOptions(percentile=100.5)
    with pytest.raises(OptionError, match="momentum=0"):
        RangeOptions(momentum=0.0)
