"""Mean of each channel, over all samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Means are added as integers in units of 2^-40: exact, whatever the order, up to 8 million.
_UNIT = 2.0**40
#: Positions looked at of one channel in one sample, about.
_POSITIONS = 1024


@dataclass(frozen=True, eq=False)
class ChannelMeansState:
    """Sums of the samples' means.

    Attributes:
        total: int64 [channels], sum over samples of the channel's mean, in units of 2^-40; [0]
            where no sample was seen.
        samples: how many samples.
    """

    total: NDArray[np.int64]
    samples: int

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each channel, float64 [channels]."""
        return self.total / (_UNIT * max(self.samples, 1))


@dataclass(frozen=True)
class ChannelMeans:
    """Mean along one axis: 8 bytes a channel, however many samples there are.

    Every sample counts alike. Of a large sample every k-th position is taken, k odd.
    Sums are integers, so merging is exact, associative and commutative.

    Attributes:
        axis: the axis that is kept, from the front, or from the back where negative.
    """

    axis: int = 1

    @property
    def key(self) -> str:
        """Name of the measurement."""
        return f"channel-means{{axis={self.axis}}}"

    @property
    def shaped(self) -> bool:
        """True: values that are not finite come as NaN in their place, not left out."""
        return True

    def init(self) -> ChannelMeansState:
        """No sample."""
        return ChannelMeansState(np.empty(0, np.int64), 0)

    def update(self, state: ChannelMeansState, sample: int, x: NDArray[Any]) -> ChannelMeansState:
        """*state* with the values *x*, which has the axis; NaN is passed over."""
        return self.merge(state, self.look(x)) if x.size else state

    def look(self, x: NDArray[Any], low: float = 0.0, high: float = 0.0) -> ChannelMeansState:
        """The state of one sample, the values *x*, which are not none; extremes do not matter."""
        rows = np.moveaxis(x, self.axis, 0)
        rows = rows.reshape(len(rows), -1)
        rows = np.ascontiguousarray(rows[:, :: rows.shape[1] // _POSITIONS | 1])
        mean = rows.mean(axis=1, dtype=np.float32)
        if np.isnan(mean).any():
            finite = np.isfinite(rows)
            count = np.maximum(finite.sum(axis=1), 1)
            mean = np.where(finite, rows, 0).sum(axis=1, dtype=np.float32) / count
        units = np.rint(np.clip(mean.astype(np.float64), -(2.0**22), 2.0**22) * _UNIT)
        return ChannelMeansState(units.astype(np.int64), 1)

    def join(
        self, state: ChannelMeansState, found: Sequence[tuple[int, ChannelMeansState]]
    ) -> ChannelMeansState:
        """*state* with what ``look`` found in some samples."""
        return reduce(self.merge, (one for _, one in found), state)

    def merge(self, a: ChannelMeansState, b: ChannelMeansState) -> ChannelMeansState:
        """Both, which have equally many channels."""
        if not a.samples or not b.samples:
            return b if not a.samples else a
        return ChannelMeansState(a.total + b.total, a.samples + b.samples)

    def to_arrays(self, state: ChannelMeansState) -> dict[str, NDArray[Any]]:
        """Arrays ``total``, ``samples``."""
        return {"total": state.total, "samples": np.array(state.samples, np.int64)}

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> ChannelMeansState:
        """Inverse of ``to_arrays``."""
        return ChannelMeansState(arrays["total"], int(arrays["samples"]))
