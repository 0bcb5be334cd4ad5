"""Smallest and largest value of each channel, over all samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.extremes import PIECE


@dataclass(frozen=True, eq=False)
class ChannelExtremesState:
    """Extremes by channel.

    Attributes:
        low, high: float32 [channels], NaN where no finite value was seen; [0] where no sample was.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @property
    def magnitude(self) -> NDArray[np.float64]:
        """Largest |value| of each channel, float64 [channels]; 0 where none was seen."""
        largest = np.fmax(np.abs(self.low), np.abs(self.high))
        return np.nan_to_num(largest.astype(np.float64), nan=0.0)


@dataclass(frozen=True)
class ChannelExtremes:
    """Extremes along one axis: 8 bytes a channel, however many samples there are.

    Smallest and largest are exact, associative and commutative, so that merging is too.

    Attributes:
        axis: the axis that is kept, counted from the front.
    """

    axis: int = 1

    @property
    def key(self) -> str:
        """Name of the measurement."""
        return f"channel-extremes{{axis={self.axis}}}"

    @property
    def shaped(self) -> bool:
        """True: values that are not finite come as NaN in their place, not left out."""
        return True

    def init(self) -> ChannelExtremesState:
        """No sample."""
        return ChannelExtremesState(np.empty(0, np.float32), np.empty(0, np.float32))

    def update(
        self, state: ChannelExtremesState, sample: int, x: NDArray[Any]
    ) -> ChannelExtremesState:
        """*state* with the values *x*, which has the axis; NaN is passed over."""
        return self.merge(state, self.look(x)) if x.size else state

    def look(self, x: NDArray[Any], low: float = 0.0, high: float = 0.0) -> ChannelExtremesState:
        """The state of one sample, the values *x*; the extremes of the whole do not matter."""
        lows, highs = self.ends(x)
        if np.isnan(lows).any():  # passing over NaN is many times slower
            rows = self._rows(x)
            lows, highs = np.fmin.reduce(rows, axis=1), np.fmax.reduce(rows, axis=1)
        return self.seen(lows, highs)

    def ends(self, x: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Smallest and largest value of each channel of *x*, NaN where it holds one."""
        rows = self._rows(x)
        lows, highs = np.empty((2, len(rows)), np.float32)
        step = max(PIECE // max(rows.shape[1], 1), 1)
        for i in range(0, len(rows), step):  # so that both looks find it in a core's cache
            rows[i : i + step].min(axis=1, out=lows[i : i + step])
            rows[i : i + step].max(axis=1, out=highs[i : i + step])
        return lows, highs

    def seen(self, low: NDArray[np.float32], high: NDArray[np.float32]) -> ChannelExtremesState:
        """What ``look`` finds where ``ends`` finds no NaN, but *low* and *high*."""
        # no negative zero: equal values, equal bits
        return ChannelExtremesState(low + np.float32(0), high + np.float32(0))

    def _rows(self, x: NDArray[Any]) -> NDArray[np.float32]:
        rows = np.asarray(x, np.float32).swapaxes(0, self.axis)  # the order of others is no matter
        return rows.reshape(len(rows), -1)

    def join(
        self, state: ChannelExtremesState, found: Sequence[tuple[int, ChannelExtremesState]]
    ) -> ChannelExtremesState:
        """*state* with what ``look`` found in some samples."""
        states = [one for one in (state, *(one for _, one in found)) if one.low.size]
        if len(states) < 2:
            return states[0] if states else state
        low = np.fmin.reduce([one.low for one in states])
        return ChannelExtremesState(low, np.fmax.reduce([one.high for one in states]))

    def merge(self, a: ChannelExtremesState, b: ChannelExtremesState) -> ChannelExtremesState:
        """Extremes of both, which have equally many channels."""
        if not a.low.size or not b.low.size:
            return b if not a.low.size else a
        return ChannelExtremesState(np.fmin(a.low, b.low), np.fmax(a.high, b.high))

    def to_arrays(self, state: ChannelExtremesState) -> dict[str, NDArray[Any]]:
        """Arrays ``low``, ``high``."""
        return {"low": state.low, "high": state.high}

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> ChannelExtremesState:
        """Inverse of ``to_arrays``."""
        return ChannelExtremesState(arrays["low"], arrays["high"])
