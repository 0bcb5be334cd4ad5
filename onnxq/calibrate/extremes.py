"""Smallest and largest value, by sample: min-max, moving averages and means derive from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.states import ExtremesState

PIECE = 1 << 17
"""Values that are looked at twice in a row, while they are in a core's cache."""


@dataclass(frozen=True)
class Extremes:
    """A record (smallest, largest) for each sample, reduced in index order when a range is chosen.

    Records are keyed by sample, so averages that depend on order are the same whatever the order
    in which shards are merged. 16 bytes a sample and tensor. The driver computes it inside the
    run, with ReduceMin and ReduceMax.
    """

    @property
    def key(self) -> str:
        """Name of the measurement."""
        return "extremes"

    def init(self) -> ExtremesState:
        """No sample."""
        return ExtremesState(
            np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32)
        )

    def update(self, state: ExtremesState, sample: int, x: NDArray[Any]) -> ExtremesState:
        """*state* with the values *x* (any shape, finite) of *sample*; none adds no record."""
        return self.join(state, [(sample, bounds(x))]) if x.size else state

    def look(self, x: NDArray[Any], low: float, high: float) -> tuple[float, float]:
        """What is kept of the values *x*, whose extremes are known already."""
        return low, high

    def join(
        self, state: ExtremesState, found: Sequence[tuple[int, tuple[float, float]]]
    ) -> ExtremesState:
        """*state* with what ``look`` found in some samples, which are in order."""
        low, high = zip(*(ends for _, ends in found), strict=True)
        more = ExtremesState(
            np.array([sample for sample, _ in found], np.int64),
            np.array(low, np.float32),
            np.array(high, np.float32),
        )
        return self.merge(state, more)

    def merge(self, a: ExtremesState, b: ExtremesState) -> ExtremesState:
        """Records of both; two records of one sample are joined."""
        if not b.samples.size:
            return a
        samples = np.concatenate([a.samples, b.samples])
        low, high = np.concatenate([a.low, b.low]), np.concatenate([a.high, b.high])
        if a.samples.size and a.samples[-1] >= b.samples[0]:
            samples, where = np.unique(samples, return_inverse=True)
            lowest = np.full(samples.shape, np.inf, np.float32)
            highest = np.full(samples.shape, -np.inf, np.float32)
            np.minimum.at(lowest, where, low)
            np.maximum.at(highest, where, high)
            low, high = lowest, highest
        return ExtremesState(samples, low, high)

    def to_arrays(self, state: ExtremesState) -> dict[str, NDArray[Any]]:
        """Arrays ``samples``, ``low``, ``high``."""
        return {"samples": state.samples, "low": state.low, "high": state.high}

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> ExtremesState:
        """Inverse of ``to_arrays``."""
        return ExtremesState(arrays["samples"], arrays["low"], arrays["high"])


def bounds(x: NDArray[Any]) -> tuple[float, float]:
    """Smallest and largest value of *x*, which is not empty; NaN where it holds one."""
    if x.size <= PIECE or not x.flags.c_contiguous:
        return float(x.min()), float(x.max())
    flat = x.reshape(-1)
    pieces = [flat[i : i + PIECE] for i in range(0, flat.size, PIECE)]
    ends = np.array([(piece.min(), piece.max()) for piece in pieces])
    return float(ends[:, 0].min()), float(ends[:, 1].max())
