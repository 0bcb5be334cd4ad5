"""Ranges of one tensor that are worth a trial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxq.quant import QParams, QuantSpec, ScaleRule
from onnxq.quant.affine import codes_in_use, symmetric_zero
from onnxq.quant.choose import qparams_from_range
from onnxq.quant.mse import range_errors
from onnxq.quant.ranges import RangeOptions, choose_range
from onnxq.quant.states import ExtremesState, HistogramState

_PERCENTILES = (99.999, 99.99, 99.9)
_POWERS = 4
"""Halvings of the smallest power of two that clips nothing."""
_MOST = 1.5
"""How much larger than the least error of the tensor itself that of a narrower range may be: what
is clipped is rare, and few samples may show none of it."""


@dataclass(frozen=True)
class Candidates:
    """Parameters by method, and the method of least error on the tensor itself."""

    methods: dict[str, QParams]
    own: str


def candidates(
    extremes: ExtremesState, plain: HistogramState, weighed: HistogramState, spec: QuantSpec
) -> Candidates:
    """What each method gives; of equal parameters, the first method's.

    Where scales have to be powers of two, each power that may be the best, and no method: what
    a method says would be rounded up to one of them.

    Args:
        extremes: of all samples.
        plain: counts of values.
        weighed: the same, each value as often as its channel counts for the layers behind.
        spec: the grid.
    """
    if not weighed.counts.size:
        return Candidates({"minmax": qparams_from_range(0.0, 0.0, spec)}, "minmax")
    best = qparams_from_range(*choose_range("mse", extremes, weighed, spec), spec)
    if spec.scale is ScaleRule.POWER_OF_TWO and spec.symmetric:
        found = _powers(extremes.bounds, spec)
        own = next(m for m, q in found.items() if q.scale == best.scale)
    else:
        found, own = {"mse": best, **_methods(extremes, plain, spec)}, "mse"
    least = _error(best, weighed, spec)
    tried: dict[str, QParams] = {}
    for method, q in found.items():
        fits = q.scale >= best.scale or _error(q, weighed, spec) <= _MOST * least
        if fits and all(q.scale != o.scale or q.zero_point != o.zero_point for o in tried.values()):
            tried[method] = q
    return Candidates(tried, own)


def _methods(extremes: ExtremesState, plain: HistogramState, spec: QuantSpec) -> dict[str, QParams]:
    ranges = {"minmax": extremes.bounds}
    if not spec.dtype.floating:  # it is for even steps
        ranges["entropy"] = choose_range("entropy", extremes, plain, spec)
    for percent in _PERCENTILES:
        options = RangeOptions(percentile=percent)
        name = f"percentile {percent:g}"
        ranges[name] = choose_range("percentile", extremes, plain, spec, options)
    return {method: qparams_from_range(*ends, spec) for method, ends in ranges.items()}


def _powers(bounds: tuple[float, float], spec: QuantSpec) -> dict[str, QParams]:
    widest = float(qparams_from_range(*bounds, spec).scale)
    (qmin, qmax), zero = codes_in_use(spec), symmetric_zero(spec)
    found: dict[str, QParams] = {}
    for halvings in range(_POWERS + 1):
        scale = widest / 2.0**halvings
        low, high = (qmin - zero) * scale, (qmax - zero) * scale
        q = qparams_from_range(max(low, min(bounds[0], 0.0)), min(high, max(bounds[1], 0.0)), spec)
        found[f"2^{round(np.log2(float(q.scale)))}"] = q
    return found


def _error(q: QParams, state: HistogramState, spec: QuantSpec) -> float:
    """The mean squared error of *q* on *state*."""
    full = state.counts > 0
    low, high = (np.array([end]) for end in q.real_range)
    errors = range_errors(state.centers[full], state.counts[full], spec, 2.0, low, high)
    return float(errors[0])
