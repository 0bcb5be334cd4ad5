"""Some of the patches that a layer with weights reads, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.patches import Reads, finite_patches

Patches = tuple[tuple[int, NDArray[np.float32]], ...]
"""By sample number, ascending, its patches: float32 [groups, patches, K]."""


@dataclass(frozen=True)
class PatchSamples:
    """A few patches of each sample.

    Of two tensors of one shape the same places are taken. Memory grows with the number of samples:
    4 · groups · most · K bytes each. It is for a few samples: the *first* of them, or those of a
    short run (``Context.observe_apart``).

    Attributes:
        reads: which values belong to a patch.
        most: most patches of one sample.
        finite: whether patches with values that are not finite are left out; where those of two
            tensors belong together, they must not be.
        first: of how many samples at most, those that come first; None for all of a run.
    """

    reads: Reads
    most: int = 16
    finite: bool = True
    first: int | None = None

    @property
    def key(self) -> str:
        """Name of the measurement."""
        options = f"reads={self.reads},most={self.most},finite={self.finite},first={self.first}"
        return f"patch-samples{{{options}}}"

    @property
    def passing(self) -> bool:
        """True: its states are too large to be kept for other choices."""
        return True

    @property
    def shaped(self) -> bool:
        """True: values that are not finite come as NaN in their place."""
        return True

    def init(self) -> Patches:
        """No sample."""
        return ()

    def update(self, state: Patches, sample: int, x: NDArray[Any]) -> Patches:
        """*state* with the values *x* of sample number *sample*."""
        return self.join(state, [(sample, self.look(x))]) if x.size else state

    def look(self, x: NDArray[Any], low: float = 0.0, high: float = 0.0) -> NDArray[np.float32]:
        """The patches of one sample; its extremes do not matter."""
        if self.finite:
            return finite_patches(self.reads, x, self.most)
        return np.asarray(self.reads.patches(np.asarray(x, np.float32), self.most))

    def join(self, state: Patches, found: Sequence[tuple[int, NDArray[np.float32]]]) -> Patches:
        """*state* with what ``look`` found in some samples."""
        end = self.first
        return self.merge(state, tuple(one for one in found if end is None or one[0] < end))

    def enough(self, state: Patches, samples: int) -> bool:
        """Whether *state*, after *samples* samples, has all that are asked for."""
        return self.first is not None and samples >= self.first

    def merge(self, a: Patches, b: Patches) -> Patches:
        """Both."""
        return tuple(sorted((*a, *b), key=lambda one: one[0]))

    def to_arrays(self, state: Patches) -> dict[str, NDArray[Any]]:
        """One array for each sample, by its number."""
        return {str(sample): patches for sample, patches in state}

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> Patches:
        """Inverse of ``to_arrays``."""
        return self.merge((), tuple((int(name), value) for name, value in arrays.items()))
