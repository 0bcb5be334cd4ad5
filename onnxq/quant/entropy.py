"""The clipping range that loses the least information: Kullback-Leibler divergence.

For a candidate range, P is the histogram with everything outside added to the bins at the ends,
and Q what is left of it after quantization: the mass of each code, spread evenly over those of
its bins that are not empty. The candidate of least

    KL(P‖Q) = Σ P log P − Σ P log Q

wins. Codes are those of the grid in use (zero point and rounding included), so asymmetric and
one-sided tensors need no special case. Sums over the bins of a code are differences of cumulative
sums, so that a candidate costs its codes and not its bins.

Zero is a code of its own and exact zeros lose nothing; a spike of them (behind a ReLU) would
rule the divergence, so the bin that holds zero counts no more than its larger neighbour.
Source: Migacz 2017, "8-bit inference with TensorRT".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.affine import affine, codes_in_use
from onnxq.quant.search import best_range_for
from onnxq.quant.spec import QuantSpec
from onnxq.quant.states import HistogramState

#: Mass given to a code that holds only what was clipped, relative to the whole.
SMOOTHING = 1e-9


def entropy_range(state: HistogramState, spec: QuantSpec) -> tuple[float, float]:
    """The range (low, high) of least divergence on *state*, which holds at least one value."""
    qmin, qmax = codes_in_use(spec)
    if qmax - qmin + 1 >= state.counts.size:
        return state.bounds  # a bin has a code of its own: nothing is lost at full range
    return best_range_for(state.bounds, spec, _Divergence(state, spec))


class _Divergence:
    """KL(P‖Q) of candidate ranges on one histogram of n bins."""

    def __init__(self, state: HistogramState, spec: QuantSpec) -> None:
        self.width, self.start, self.spec = state.width, state.start, spec
        counts = without_zero_spike(state)
        self.counts, self.total = counts, counts.sum()
        self.mass = _cumulative(counts)
        self.full = _cumulative((counts > 0).astype(np.float64))
        self.plogp = _cumulative(_xlogx(counts))

    def __call__(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
        """The divergence of each range *low*, *high* [k]; float64 [k], inf for an empty window."""
        edges = self._edges(low, high)
        begin, end = edges[:, 0], edges[:, -1]
        s = np.diff(self.mass[edges])
        n = np.diff(self.full[edges])
        p = s.copy()  # P by code: the window, and in its first and last bin what lies outside
        cross = self.plogp[end] - self.plogp[begin]
        row = np.arange(len(edges))
        for bin_, outside in (
            (begin, self.mass[begin]),
            (np.maximum(end - 1, begin), self.total - self.mass[end]),
        ):
            code = np.clip((edges <= bin_[:, None]).sum(axis=1) - 1, 0, p.shape[1] - 1)
            here = self.counts[np.minimum(bin_, self.counts.size - 1)]
            p[row, code] += outside
            n[row, code] += (here == 0) & (outside > 0)
            cross += _xlogx(here + outside) - _xlogx(here)
        inside = np.maximum(self.mass[end] - self.mass[begin], 1.0)
        q = np.maximum(s, SMOOTHING * self.total) / np.maximum(n, 1.0) / inside[:, None]
        kl = cross / self.total - np.log(self.total) - np.sum(p * np.log(q), axis=1) / self.total
        return np.where(end > begin, kl, np.inf)

    def _edges(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.int64]:
        """Bins where the codes of each range begin, and where the last ends; [k, codes + 1]."""
        scale, zero = affine(low, high, self.spec)
        qmin, qmax = codes_in_use(self.spec)
        steps = np.arange(qmin, qmax + 2) - zero[:, None] - 0.5
        first = np.ceil(steps * scale[:, None].astype(np.float64) / self.width - 0.5)
        edges: NDArray[np.int64] = np.clip(first - self.start, 0, self.counts.size).astype(np.int64)
        return edges


def without_zero_spike(state: HistogramState) -> NDArray[np.float64]:
    """Counts, float64 [n], with the bin that holds zero cut to its larger neighbour."""
    counts = state.counts.astype(np.float64)
    at = -state.start
    if 0 <= at < counts.size and counts.size > 1:
        beside = counts[max(at - 1, 0) : at + 2].copy()
        beside[min(at, 1)] = 0.0
        counts[at] = min(counts[at], max(beside.max(), 1.0))
    return counts


def _cumulative(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(x)])


def _xlogx(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x * np.log(np.maximum(x, 1.0))
