"""Counts of values on an exact grid: percentile, entropy and mse ranges derive from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.extremes import bounds
from onnxq.calibrate.grid import bin_index, coarsen, count, finest_exponent
from onnxq.errors import OptionError
from onnxq.quant.states import HistogramState

#: From so many samples and values on, more of them move no range.
SAMPLES, VALUES = 128, 1 << 19


class Counted(NamedTuple):
    """Of one sample: values that are counted, with weights; for how many each stands; extremes."""

    values: NDArray[np.float32]
    weights: NDArray[np.float64] | None
    step: int
    low: float
    high: float

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.values.nbytes + (0 if self.weights is None else self.weights.nbytes)


@dataclass(frozen=True)
class Histogram:
    """Counts on the finest power-of-two grid on which all values span at most *bins* bins.

    The state is a function of the multiset of counted values alone, so merging is exact,
    associative and commutative. At least half of *bins* bins lie between the extremes, which are
    those of all values.

    Of a tensor with more than *values* values in one sample every k-th is counted, k times, with k
    the smallest odd number that leaves at most *values*. (Odd, so that it does not fall into step
    with rows of even length.) A hundred samples still give millions of values.
    After 128 samples a tensor of which half a million values were seen has enough.

    Attributes:
        bins: most bins of a state, at least 2; memory is 8 · bins bytes a tensor.
        values: most values counted of one tensor in one sample, at least 1.
        floors: by channel (axis 1), the value that smaller ones count as; None for no floor.
        weights: by channel (axis 1), how often each value counts, integers; None for once.
    """

    bins: int = 4096
    values: int = 1 << 14
    floors: tuple[float, ...] | None = None
    weights: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise OptionError(f"a histogram of {self.bins} bins", hint="at least 2, such as 4096")
        if self.floors is not None:
            object.__setattr__(self, "floors", tuple(self.floors))  # a list, read from a file
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(self.weights))
        if self.values < 1:
            raise OptionError(f"a histogram of {self.values} values a sample", hint="at least 1")

    @property
    def key(self) -> str:
        """Name of the measurement."""
        floors = "" if self.floors is None else f",floors={self.floors}"
        weights = "" if self.weights is None else f",weights={self.weights}"
        return f"histogram{{bins={self.bins},values={self.values}{floors}{weights}}}"

    def init(self) -> HistogramState:
        """No value."""
        return HistogramState(0, 0, np.empty(0, np.int64))

    def update(self, state: HistogramState, sample: int, x: NDArray[Any]) -> HistogramState:
        """*state* with the values *x* (any shape, finite)."""
        return self.join(state, [(sample, self.look(x, *bounds(x)))]) if x.size else state

    def look(self, x: NDArray[Any], low: float, high: float) -> Counted:
        """What is counted of the values *x*, whose extremes are known already."""
        if self.floors is not None and x.ndim > 1 and x.shape[1] == len(self.floors):
            floors = np.array(self.floors, np.float32).reshape(-1, *[1] * (x.ndim - 2))
            x = np.maximum(x, floors)
            low, high = bounds(x)
        step = -(-x.size // self.values) | 1
        values = np.array(x.reshape(-1)[::step], np.float32)
        if self.weights is None or x.ndim < 2 or x.shape[1] != len(self.weights):
            return Counted(values, None, step, low, high)
        weights = _of_each(self.weights, x.size, int(np.prod(x.shape[2:])), step)
        return Counted(values, weights, step, low, high)

    def join(self, state: HistogramState, found: Sequence[tuple[int, Counted]]) -> HistogramState:
        """*state* with what ``look`` found in some samples."""
        low, high = min(f.low for _, f in found), max(f.high for _, f in found)
        exponent, start, bins, low, high = self._grid(state, low, high)
        counts = state.counts
        if (exponent, start, bins) != (state.exponent, state.start, counts.size):
            counts = np.zeros(bins, np.int64)
            _add(counts, start, state, exponent)
        for step in {f.step for _, f in found}:
            values = [f.values for _, f in found if f.step == step]
            weights = [f.weights for _, f in found if f.step == step and f.weights is not None]
            more = count(_flat(values), exponent, start, bins, _flat(weights))
            counts = counts + (more if step == 1 else more * step)
        return HistogramState(exponent, start, counts, low, high)

    def enough(self, state: HistogramState, samples: int) -> bool:
        """Whether *state*, after *samples* samples, need not see more."""
        often = 1.0 if self.weights is None else float(np.mean(self.weights))
        return samples >= SAMPLES and int(state.counts.sum()) >= VALUES * often

    def merge(self, a: HistogramState, b: HistogramState) -> HistogramState:
        """Counts of both, on the finest grid that holds them."""
        if not a.counts.size or not b.counts.size:
            return b if not a.counts.size else a
        exponent, start, bins, low, high = self._grid(a, b.low, b.high)
        counts = np.zeros(bins, np.int64)
        for state in (a, b):
            _add(counts, start, state, exponent)
        return HistogramState(exponent, start, counts, low, high)

    def _grid(
        self, state: HistogramState, low: float, high: float
    ) -> tuple[int, int, int, float, float]:
        """Exponent, first bin, bins and extremes of *state* widened to ``low … high``."""
        if state.counts.size:
            if state.low <= low and high <= state.high:
                return state.exponent, state.start, state.counts.size, state.low, state.high
            low, high = min(low, state.low), max(high, state.high)
        low, high = low + 0.0, high + 0.0  # no negative zero: equal multisets, equal bits
        exponent = finest_exponent(low, high, self.bins)
        start = bin_index(low, exponent)
        return exponent, start, bin_index(high, exponent) - start + 1, low, high

    def to_arrays(self, state: HistogramState) -> dict[str, NDArray[Any]]:
        """Arrays ``grid`` (exponent, start), ``counts``, ``bounds``."""
        return {
            "grid": np.array([state.exponent, state.start], np.int64),
            "counts": state.counts,
            "bounds": np.array([state.low, state.high], np.float64),
        }

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> HistogramState:
        """Inverse of ``to_arrays``."""
        exponent, start = (int(v) for v in arrays["grid"])
        low, high = (float(v) for v in arrays["bounds"])
        return HistogramState(exponent, start, arrays["counts"], low, high)


@lru_cache(maxsize=128)
def _of_each(weights: tuple[int, ...], size: int, inner: int, step: int) -> NDArray[np.float64]:
    """The weight of each counted value of a tensor of *size* values, *inner* in each channel."""
    place = np.arange(0, size, step) // inner % len(weights)
    return np.array(weights, np.float64)[place]


def _flat(parts: list[Any]) -> Any:
    """All of *parts*, None where there are none."""
    return None if not parts else parts[0] if len(parts) == 1 else np.concatenate(parts)


def _add(counts: NDArray[np.int64], start: int, state: HistogramState, exponent: int) -> None:
    """Add the counts of *state* to *counts*, on the grid of *exponent* from bin *start* on."""
    halvings = exponent - state.exponent
    part = coarsen(state.counts, state.start, halvings)
    if part.size:
        first = (state.start >> halvings) - start
        counts[first : first + part.size] += part
