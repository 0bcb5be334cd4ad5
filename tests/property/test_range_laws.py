"""Laws of ranges and parameters: zero is a code, mse beats min-max, pairs stay within the limit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.histogram import Histogram
from onnxq.quant import INT8, RANGE_METHODS, UINT8, QuantSpec, ScaleRule, choose_range
from onnxq.quant import dtype as find_dtype
from onnxq.quant.choose import qparams_from_range, weight_qparams
from onnxq.quant.mse import mse_range, range_errors

ENDS = st.floats(-(2.0**100), 2.0**100, width=32)
TAME = st.floats(-100, 100, width=32)
SPECS = st.builds(
    QuantSpec,
    dtype=st.sampled_from([find_dtype(n) for n in ("int8", "uint8", "int4", "uint4", "int16")]),
    symmetric=st.booleans(),
    narrow_range=st.booleans(),
    scale=st.sampled_from(ScaleRule),
)


@given(a=ENDS, b=ENDS, spec=SPECS)
def test_zero_is_a_code_and_the_range_is_covered(a, b, spec):
    low, high = min(a, b), max(a, b)
    q = qparams_from_range(low, high, spec)
    zero = np.zeros(1, np.float32)
    assert q.fake(zero) == 0
    assert q.scale > 0 and np.isfinite(q.scale)
    assert q.qmin <= q.zero_point <= q.qmax
    covered = q.real_range
    slack = float(q.scale) * 0.5 * (1 + 1e-3) + 1e-30
    if high - low > 1e-12:
        assert covered[0] <= min(low, 0) + slack
        assert covered[1] >= max(high, 0) - slack
    if spec.scale is ScaleRule.POWER_OF_TWO:
        assert np.frexp(q.scale)[0] == 0.5
    if spec.symmetric:
        assert q.zero_point == (0 if spec.dtype.signed else 1 << (spec.dtype.bits - 1))


@given(
    x=arrays(np.float32, st.integers(1, 200), elements=TAME),
    outlier=TAME,
    spec=SPECS,
    norm=st.sampled_from([1.0, 2.0, 2.4]),
)
@settings(deadline=None)
def test_mse_is_never_worse_than_minmax_on_its_histogram(x, outlier, spec, norm):
    observer = Histogram()
    state = observer.update(observer.init(), 0, np.append(x, np.float32(outlier * 20)))
    full = state.counts > 0

    def error(low, high):
        return range_errors(
            state.centers[full], state.counts[full], spec, norm, np.array([low]), np.array([high])
        )[0]

    assert error(*mse_range(state, spec, norm)) <= error(*state.bounds) * (1 + 1e-5)


@pytest.mark.parametrize("method", RANGE_METHODS)
@given(
    samples=st.lists(arrays(np.float32, st.integers(0, 30), elements=TAME), min_size=1, max_size=4),
    spec=SPECS,
)
@settings(deadline=None, max_examples=50)
def test_every_method_stays_within_what_was_seen(method, samples, spec):
    extremes, histogram = Extremes(), Histogram()
    e, h = extremes.init(), histogram.init()
    for i, x in enumerate(samples):
        e, h = extremes.update(e, i, x), histogram.update(h, i, x)
    low, high = choose_range(method, e, h, spec)
    assert low <= high
    slack = 1e-5 * max(abs(e.bounds[0]), abs(e.bounds[1]))
    assert min(e.bounds[0], 0) - slack <= low
    assert high <= max(e.bounds[1], 0) + slack
    qparams_from_range(low, high, spec)


WEIGHTS = st.tuples(st.integers(1, 6), st.integers(1, 20)).flatmap(
    lambda shape: arrays(
        np.float32,
        shape,
        elements=st.one_of(TAME, st.floats(-(2.0**-66), 2.0**-66, width=32), st.just(0.0)),
    )
)


@given(
    w=WEIGHTS,
    limit=st.sampled_from([127, 128, 150, 256]),
    method=st.sampled_from(["minmax", "mse"]),
    rule=st.sampled_from(ScaleRule),
)
@settings(deadline=None)
def test_no_pair_of_codes_exceeds_the_limit(w, limit, method, rule):
    spec = QuantSpec(dtype=INT8, symmetric=True, pair_sum_limit=limit, scale=rule)
    q = weight_qparams(w, spec, 0, method=method)
    codes = np.sort(q.quantize(w).astype(int), axis=1)
    if w.shape[1] > 1:
        assert (codes[:, -2:].clip(0).sum(axis=1) <= limit).all()
        assert (-codes[:, :2].clip(None, 0).sum(axis=1) <= limit).all()
    # and no coarser than needed: one code more per pair would be too many
    free = weight_qparams(w, QuantSpec(dtype=INT8, symmetric=True, scale=rule), 0, method=method)
    raised = q.scale > free.scale
    pairs = np.maximum(codes[:, -2:].clip(0).sum(axis=1), -codes[:, :2].clip(None, 0).sum(axis=1))
    if rule is ScaleRule.ANY:
        assert (pairs[raised] >= limit - 2).all()


@given(w=WEIGHTS, symmetric=st.booleans(), method=st.sampled_from(["minmax", "mse"]))
@settings(deadline=None)
def test_minmax_weights_are_within_half_a_step_and_mse_is_no_worse(w, symmetric, method):
    spec = QuantSpec(dtype=INT8 if symmetric else UINT8, symmetric=symmetric)
    minmax = weight_qparams(w, spec, 0)
    error = np.abs(minmax.fake(w) - w).astype(np.float64)
    steps = 0.5 if symmetric else 1.0  # a rounded zero point may clip half a step more
    assert (error <= minmax.scale[:, None] * steps * (1 + 1e-5)).all()
    if method == "mse":
        mse = weight_qparams(w, spec, 0, method="mse")
        better = np.square(mse.fake(w) - w, dtype=np.float64).sum(axis=1)
        tiny = 1e-5 * np.square(w, dtype=np.float64).sum(axis=1) + 1e-30
        assert (better <= np.square(error).sum(axis=1) * (1 + 1e-4) + tiny * 1e-4).all()
