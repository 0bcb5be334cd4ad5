"""Extremes of each channel in two parts: of the first samples, and of those after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.channel_extremes import ChannelExtremes, ChannelExtremesState

_EMPTY = ChannelExtremesState(np.empty(0, np.float32), np.empty(0, np.float32))


@dataclass(frozen=True, eq=False)
class PartedExtremesState:
    """Extremes by channel of the first samples and of the later ones.

    Attributes:
        first, later: the extremes; empty where no sample was seen.
        samples: how many later samples.
        enough: how many of them are enough to do without the first ones.
    """

    first: ChannelExtremesState
    later: ChannelExtremesState
    samples: int
    enough: int

    @property
    def magnitude(self) -> NDArray[np.float64]:
        """Largest |value| of each channel over all samples, float64 [channels]."""
        return ChannelExtremes().merge(self.first, self.later).magnitude

    @property
    def fitted(self) -> NDArray[np.float64]:
        """The same over the later samples, where they are enough; else over all."""
        return self.later.magnitude if self.samples >= self.enough else self.magnitude


@dataclass(frozen=True)
class PartedExtremes:
    """Extremes along one axis, the first samples apart.

    What is fitted to the later ones can be judged on the first as on data never seen.

    Channels that are scaled to the same largest value leave, on the samples they were scaled by,
    no value beyond it; on others they do, and a range must not be chosen as if they did not.

    Attributes:
        axis: the axis that is kept, counted from the front.
        apart: how many samples are the first ones; as many more are enough.
    """

    axis: int = 1
    apart: int = 24

    @property
    def key(self) -> str:
        """Name of the measurement."""
        return f"parted-extremes{{axis={self.axis},apart={self.apart}}}"

    @property
    def shaped(self) -> bool:
        """True: values that are not finite come as NaN in their place, not left out."""
        return True

    def init(self) -> PartedExtremesState:
        """No sample."""
        return PartedExtremesState(_EMPTY, _EMPTY, 0, self.apart)

    def update(
        self, state: PartedExtremesState, sample: int, x: NDArray[Any]
    ) -> PartedExtremesState:
        """*state* with the values *x* of sample number *sample*, which has the axis."""
        return self.join(state, [(sample, self.look(x))]) if x.size else state

    def look(self, x: NDArray[Any], low: float = 0.0, high: float = 0.0) -> ChannelExtremesState:
        """Extremes of one sample."""
        return ChannelExtremes(self.axis).look(x)

    def ends(self, x: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Smallest and largest value of each channel of *x*, NaN where it holds one."""
        return ChannelExtremes(self.axis).ends(x)

    def seen(self, low: NDArray[np.float32], high: NDArray[np.float32]) -> ChannelExtremesState:
        """What ``look`` finds where ``ends`` finds no NaN, but *low* and *high*."""
        return ChannelExtremes(self.axis).seen(low, high)

    def join(
        self, state: PartedExtremesState, found: Sequence[tuple[int, ChannelExtremesState]]
    ) -> PartedExtremesState:
        """*state* with what ``look`` found in some samples."""
        whole = ChannelExtremes(self.axis)
        first = [one for sample, one in found if sample < self.apart]
        later = [one for sample, one in found if sample >= self.apart]
        return PartedExtremesState(
            whole.join(state.first, list(enumerate(first))),
            whole.join(state.later, list(enumerate(later))),
            state.samples + len(later),
            self.apart,
        )

    def enough(self, state: PartedExtremesState, samples: int) -> bool:
        """Whether *state*, after *samples* samples, need not see more: both parts are whole."""
        return state.samples >= self.apart

    def merge(self, a: PartedExtremesState, b: PartedExtremesState) -> PartedExtremesState:
        """Both, which have equally many channels."""
        whole = ChannelExtremes(self.axis)
        return PartedExtremesState(
            whole.merge(a.first, b.first),
            whole.merge(a.later, b.later),
            a.samples + b.samples,
            self.apart,
        )

    def to_arrays(self, state: PartedExtremesState) -> dict[str, NDArray[Any]]:
        """Arrays ``first`` and ``later`` [2, channels], and ``samples``."""
        return {
            "first": np.stack([state.first.low, state.first.high]),
            "later": np.stack([state.later.low, state.later.high]),
            "samples": np.array(state.samples, np.int64),
        }

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> PartedExtremesState:
        """Inverse of ``to_arrays``."""
        return PartedExtremesState(
            ChannelExtremesState(*arrays["first"]),
            ChannelExtremesState(*arrays["later"]),
            int(arrays["samples"]),
            self.apart,
        )
