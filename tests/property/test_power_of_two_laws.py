"""Laws of power-of-two scales: each method chooses among them, on the grid in use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.histogram import Histogram
from onnxq.quant import INT8, RANGE_METHODS, QuantSpec, Rounding, ScaleRule, choose_range
from onnxq.quant import dtype as find_dtype
from onnxq.quant.choose import qparams_from_range, weight_codes, weight_qparams
from onnxq.quant.mse import range_errors

TAME = st.floats(-100, 100, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3)
VALUES = arrays(np.float32, st.integers(1, 200), elements=TAME)
SPECS = st.builds(
    QuantSpec,
    dtype=st.sampled_from([find_dtype(n) for n in ("int8", "int4", "int16", "uint8")]),
    narrow_range=st.booleans(),
    symmetric=st.just(True),
    scale=st.just(ScaleRule.POWER_OF_TWO),
    limits=st.sampled_from([None, (0.0, 6.0), (0.0, np.inf)]),
)


def measured(x):
    histogram, extremes = Histogram(), Extremes()
    states = [o.update(o.init(), 0, x) for o in (extremes, histogram)]
    return extremes.merge(extremes.init(), states[0]), states[1]


@given(x=VALUES, outlier=TAME, spec=SPECS, method=st.sampled_from(RANGE_METHODS))
@settings(deadline=None)
def test_every_method_gives_a_power_of_two(x, outlier, spec, method):
    seen = measured(np.append(x, np.float32(outlier * 20)))
    q = qparams_from_range(*choose_range(method, *seen, spec), spec)
    assert np.frexp(q.scale)[0] == 0.5
    assert q.zero_point == (0 if spec.dtype.signed else 1 << (spec.dtype.bits - 1))


@given(x=VALUES, outlier=TAME, spec=SPECS, norm=st.sampled_from([1.0, 2.0, 2.4]))
@settings(deadline=None)
def test_half_and_double_of_the_mse_scale_are_no_better(x, outlier, spec, norm):
    _, state = measured(np.append(x, np.float32(outlier * 20)))
    full = state.counts > 0
    spec = replace(spec, limits=None)

    def error(scale):
        zero = 0 if spec.dtype.signed else 1 << (spec.dtype.bits - 1)
        low = spec.dtype.qmin + int(spec.narrow_range) - zero
        ends = np.array([low * scale]), np.array([(spec.dtype.qmax - zero) * scale])
        return range_errors(state.centers[full], state.counts[full], spec, norm, *ends)[0]

    q = qparams_from_range(*choose_range("mse", None, state, spec), spec)
    chosen, scale = error(float(q.scale)), float(q.scale)
    if norm == 2.0:  # the method's own exponent
        assert chosen <= error(scale / 2) * (1 + 1e-5) + 1e-12
        assert chosen <= error(scale * 2) * (1 + 1e-5) + 1e-12


@given(
    w=arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 60)), elements=TAME),
    spec=SPECS,
    axis=st.sampled_from([None, 0]),
)
@settings(deadline=None)
def test_half_and_double_of_a_weight_scale_are_no_better(w, spec, axis):
    spec = replace(spec, limits=None)
    q = weight_qparams(w, spec, axis, method="mse")
    assert (np.frexp(q.scale)[0] == 0.5).all()

    def error(scale):
        off = np.square(replace(q, scale=scale).fake(w).astype(np.float64) - w)
        return off.sum() if axis is None else off.sum(axis=1)

    alive = np.any(w != 0) if axis is None else np.any(w != 0, axis=1)
    chosen = error(q.scale)
    for other in (q.scale * np.float32(0.5), q.scale * np.float32(2)):
        assert (~alive | (chosen <= error(other) * (1 + 1e-4) + 1e-9)).all()


def test_the_optimum_is_not_a_rounded_up_scale():
    """Values up to 1.05, nearly all below 0.5: the best free scale is 0.9/127, and up from it."""
    rng = np.random.default_rng(0)
    x = np.append(rng.normal(0, 0.12, 100_000), [1.05]).astype(np.float32)
    spec = QuantSpec(dtype=INT8, symmetric=True, scale=ScaleRule.POWER_OF_TWO)
    _, state = measured(x)
    covering = qparams_from_range(*choose_range("minmax", None, state, spec), spec)
    assert covering.scale == 2.0**-6
    for method in ("mse", "entropy"):
        q = qparams_from_range(*choose_range(method, None, state, spec), spec)
        assert q.scale < covering.scale, method
    assert weight_qparams(x, spec).scale == 2.0**-6
    assert weight_qparams(x, spec, method="mse").scale < 2.0**-6


@pytest.mark.parametrize(
    ("rounding", "codes"),
    [(Rounding.HALF_AWAY, [-2, -1, 1, 2]), (Rounding.NEAREST_EVEN, [-2, 0, 0, 2]),
     (Rounding.HALF_UP, [-1, 0, 1, 2])],
)  # fmt: skip
def test_weights_are_rounded_as_the_spec_says(rounding, codes):
    spec = QuantSpec(dtype=INT8, symmetric=True, rounding=rounding)
    q = weight_qparams(np.array([127.0]), spec)
    found = weight_codes(np.array([-1.5, -0.5, 0.5, 1.5], np.float32), q, spec)
    assert found.tolist() == codes
