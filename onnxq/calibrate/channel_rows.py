"""Mean of each channel in each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = tuple[tuple[int, NDArray[np.float32]], ...]
"""By sample number, ascending, the mean of each channel: float32 [channels]."""


@dataclass(frozen=True)
class ChannelRows:
    """The means of each sample along one axis, kept apart: 4 bytes a channel and sample.

    It is for runs over a few samples (``Context.observe_apart``), where one that is far off must
    not rule the others.

    Attributes:
        axis: the axis that is kept, from the front, or from the back where negative.
    """

    axis: int = 1

    @property
    def key(self) -> str:
        """Name of the measurement."""
        return f"channel-rows{{axis={self.axis}}}"

    @property
    def passing(self) -> bool:
        """True: its states are too large to be kept for other choices."""
        return True

    @property
    def shaped(self) -> bool:
        """True: values that are not finite come as NaN in their place."""
        return True

    def init(self) -> Rows:
        """No sample."""
        return ()

    def update(self, state: Rows, sample: int, x: NDArray[Any]) -> Rows:
        """*state* with the values *x* of sample number *sample*."""
        return self.join(state, [(sample, self.look(x))]) if x.size else state

    def look(self, x: NDArray[Any], low: float = 0.0, high: float = 0.0) -> NDArray[np.float32]:
        """The means of one sample, NaN where a value is; its extremes do not matter."""
        rows = np.moveaxis(x, self.axis, 0)
        return np.asarray(rows.reshape(len(rows), -1).mean(axis=1, dtype=np.float32))

    def join(self, state: Rows, found: Sequence[tuple[int, NDArray[np.float32]]]) -> Rows:
        """*state* with what ``look`` found in some samples."""
        return self.merge(state, tuple(found))

    def merge(self, a: Rows, b: Rows) -> Rows:
        """Both."""
        return tuple(sorted((*a, *b), key=lambda one: one[0]))

    def to_arrays(self, state: Rows) -> dict[str, NDArray[Any]]:
        """One array for each sample, by its number."""
        return {str(sample): row for sample, row in state}

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> Rows:
        """Inverse of ``to_arrays``."""
        return self.merge((), tuple((int(name), value) for name, value in arrays.items()))


def stacked(rows: Rows) -> NDArray[np.float64]:
    """*rows* in order, float64 [samples, channels]; [0, 0] where there are none."""
    return np.stack([row for _, row in rows]).astype(np.float64) if rows else np.empty((0, 0))
