"""Mean and variance of each channel, over all values of all samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ChannelMomentsState:
    """Sums over the values of each channel, float64 [channels]; [0] where nothing was seen.

    Attributes:
        count: how many values.
        total: Σ x.
        square: Σ x².
    """

    count: NDArray[np.float64]
    total: NDArray[np.float64]
    square: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each channel; 0 where there was no value."""
        return self.total / np.maximum(self.count, 1.0)

    @property
    def variance(self) -> NDArray[np.float64]:
        """E[x²] − E[x]² of each channel, never below 0."""
        return np.maximum(self.square / np.maximum(self.count, 1.0) - self.mean**2, 0.0)


@dataclass(frozen=True)
class ChannelMoments:
    """First and second moments along one axis: 24 bytes a channel, however many samples there are.

    Every value counts alike, as in training. Sums are in float64: states of one set of samples
    that was split or ordered otherwise agree within ``tolerance``, relative to the largest.

    Attributes:
        axis: the axis that is kept, counted from the front.
    """

    axis: int = 1
    tolerance = 1e-9

    @property
    def key(self) -> str:
        """Name of the measurement."""
        return f"channel-moments{{axis={self.axis}}}"

    @property
    def shaped(self) -> bool:
        """True: values that are not finite come as NaN in their place, not left out."""
        return True

    def init(self) -> ChannelMomentsState:
        """No sample."""
        return ChannelMomentsState(np.empty(0), np.empty(0), np.empty(0))

    def update(
        self, state: ChannelMomentsState, sample: int, x: NDArray[Any]
    ) -> ChannelMomentsState:
        """*state* with the values *x*, which has the axis; NaN is passed over."""
        return self.merge(state, self.look(x)) if x.size else state

    def look(self, x: NDArray[Any], low: float = 0.0, high: float = 0.0) -> ChannelMomentsState:
        """The state of one sample, the values *x*; the extremes of the whole do not matter."""
        rows = np.moveaxis(x, self.axis, 0)
        rows = rows.reshape(len(rows), -1).astype(np.float64)
        there = np.isfinite(rows)
        rows = np.where(there, rows, 0.0)
        count = there.sum(axis=1, dtype=np.float64)
        return ChannelMomentsState(count, rows.sum(axis=1), np.einsum("cn,cn->c", rows, rows))

    def join(
        self, state: ChannelMomentsState, found: Sequence[tuple[int, ChannelMomentsState]]
    ) -> ChannelMomentsState:
        """*state* with what ``look`` found in some samples."""
        return reduce(self.merge, (one for _, one in found), state)

    def merge(self, a: ChannelMomentsState, b: ChannelMomentsState) -> ChannelMomentsState:
        """Both, which have equally many channels."""
        if not a.count.size or not b.count.size:
            return b if not a.count.size else a
        return ChannelMomentsState(a.count + b.count, a.total + b.total, a.square + b.square)

    def to_arrays(self, state: ChannelMomentsState) -> dict[str, NDArray[Any]]:
        """Arrays ``count``, ``total``, ``square``."""
        return {"count": state.count, "total": state.total, "square": state.square}

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> ChannelMomentsState:
        """Inverse of ``to_arrays``."""
        return ChannelMomentsState(arrays["count"], arrays["total"], arrays["square"])
