"""Real ranges of activations from what was measured of them; no inference, any method.

============== =============== ==================================================================
method         measured        range
============== =============== ==================================================================
minmax         either          smallest and largest value of all samples
moving-average extremes        m ← m + c · (x − m) over the samples' extremes, in sample order
minmax-mean    extremes        mean of the samples' extremes
percentile     histogram       leaves out the same share of values at either end
entropy        histogram       least Kullback-Leibler divergence (``onnxq.quant.entropy``)
mse            histogram       least error on the grid in use (``onnxq.quant.mse``)
============== =============== ==================================================================

Sources: Jacob et al. 2018, section 3.1 (moving average); Krishnamoorthi 2018 (min-max);
McKinstry et al. 2018 (percentile); Migacz 2017 (entropy); Nagel et al. 2021, section 3.1 (mse).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import OptionError, UnknownNameError
from onnxq.quant.entropy import entropy_range
from onnxq.quant.mse import mse_range
from onnxq.quant.spec import QuantSpec
from onnxq.quant.states import ExtremesState, HistogramState

RANGE_METHODS = ("minmax", "moving-average", "minmax-mean", "percentile", "entropy", "mse")
#: The methods that need a histogram; the others need extremes.
HISTOGRAM_METHODS = ("percentile", "entropy", "mse")


@dataclass(frozen=True, kw_only=True)
class RangeOptions:
    """Constants of the range methods.

    Attributes:
        percentile: share of the values below the upper end, in percent, and above the lower end.
        momentum: weight of a new sample in the moving average, in (0, 1].
        norm: the exponent p of the error Σ|x̂ − x|ᵖ that ``mse`` makes small.
    """

    percentile: float = 99.99
    momentum: float = 0.01
    norm: float = 2.0

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("percentile", self.percentile, 50.0, 100.0),
            ("momentum", self.momentum, 0.0, 1.0),
            ("norm", self.norm, 0.0, 16.0),
        ):
            if not low < value <= high:
                raise OptionError(
                    f"{name}={value} is out of range", hint=f"{low:g} < {name} <= {high:g}"
                )


def choose_range(
    method: str,
    extremes: ExtremesState | None,
    histogram: HistogramState | None,
    spec: QuantSpec,
    options: RangeOptions | None = None,
) -> tuple[float, float]:
    """The range (low, high) of a tensor that is to be quantized as *spec*.

    Both ends are real values as measured: zero need not lie between them. (0, 0) where the tensor
    had no values.

    Raises:
        UnknownNameError: there is no such method.
        OptionError: the method needs a measurement that is None.
    """
    options = options or RangeOptions()
    if method == "minmax":
        if histogram is not None and extremes is None:
            return histogram.bounds
        return _needed(method, "extremes", extremes).bounds
    if method == "moving-average":
        return moving_average(_needed(method, "extremes", extremes), options.momentum)
    if method == "minmax-mean":
        return minmax_mean(_needed(method, "extremes", extremes))
    if method not in HISTOGRAM_METHODS:
        raise UnknownNameError("calibration method", method, RANGE_METHODS)
    state = _needed(method, "histogram", histogram)
    if not state.counts.size:
        return 0.0, 0.0
    if method == "percentile":
        return percentile(state, options.percentile)
    if method == "entropy" and spec.dtype.floating:
        raise OptionError(
            f"calibration 'entropy' is for even steps, which {spec.dtype} has not",
            hint="--calibration mse",
        )
    if method == "entropy":
        return entropy_range(state, spec)
    return mse_range(state, spec, options.norm)


T = TypeVar("T")


def _needed(method: str, what: str, state: T | None) -> T:
    if state is None:
        raise OptionError(f"calibration method '{method}' needs {what}, which were not measured")
    return state


def moving_average(state: ExtremesState, momentum: float = 0.01) -> tuple[float, float]:
    """Exponential moving average of the samples' extremes; it starts at the first sample.

    Closed form: the first sample weighs (1 − c)ⁿ⁻¹, sample i > 0 weighs c (1 − c)ⁿ⁻¹⁻ⁱ.
    """
    n = state.samples.size
    if not n:
        return 0.0, 0.0
    weights = momentum * (1.0 - momentum) ** np.arange(n - 1, -1, -1, dtype=np.float64)
    weights[0] = (1.0 - momentum) ** (n - 1)
    return _dot(weights, state.low), _dot(weights, state.high)


def minmax_mean(state: ExtremesState) -> tuple[float, float]:
    """Mean of the samples' smallest values and mean of their largest."""
    if not state.samples.size:
        return 0.0, 0.0
    return float(state.low.mean(dtype=np.float64)), float(state.high.mean(dtype=np.float64))


def _dot(weights: NDArray[np.float64], values: NDArray[np.float32]) -> float:
    return float(np.sum(weights * values))


def percentile(state: HistogramState, percent: float = 99.99) -> tuple[float, float]:
    """The values below which ``100 − percent`` and *percent* of all lie, linear within a bin."""
    below = np.concatenate([[0], np.cumsum(state.counts)])
    share = np.array([1.0 - percent / 100.0, percent / 100.0]) * below[-1]
    low, high = np.interp(share, below, state.edges)
    return float(low), float(high)
