"""Second moments of what a layer with weights reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.patches import Reads, finite_patches

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over patches x, in float32; empty where nothing was seen.

    Attributes:
        count: how many patches.
        total: Σ x, [groups, K].
        square: Σ x xᵀ, [groups, K, K].
    """

    count: int
    total: Array
    square: Array

    def covariance(self) -> Array:
        """cov(x), [groups, K, K], of at least one patch."""
        n = np.float32(max(self.count, 1))
        mean = self.total / n
        return np.asarray(self.square / n - mean[:, :, None] * mean[:, None, :])

    def second(self) -> Array:
        """E[x xᵀ], [groups, K, K], of at least one patch: it counts the mean of an error too."""
        return np.asarray(self.square / np.float32(max(self.count, 1)))

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.total.nbytes + self.square.nbytes

    def __add__(self, other: Moments) -> Moments:
        if not self.count or not other.count:
            return other if not self.count else self
        return Moments(
            self.count + other.count, self.total + other.total, self.square + other.square
        )


NOTHING = Moments(0, np.empty((0, 0), np.float32), np.empty((0, 0, 0), np.float32))


@dataclass(frozen=True, eq=False)
class PatchMomentsState:
    """Moments of the samples that weights are fitted on, and of those that check the fit."""

    fitted: Moments = NOTHING
    held: Moments = NOTHING


@dataclass(frozen=True)
class PatchMoments:
    """Covariances of the patches that a layer reads.

    Of each sample a few hundred patches are taken, so time does not grow with images; memory is
    8 · groups · K² bytes, whatever the number of samples. One sample of *fold* is held out, to
    check what is fitted on the others.

    Sums are in float32: states of one set of samples that was split or ordered otherwise agree
    within 1e-4 of the largest value (``tolerance``), and are the same bits for the same order.

    Attributes:
        reads: which values belong to a patch.
        most: most patches of one sample.
        fold: one sample of so many is held out.
    """

    reads: Reads
    most: int = 256
    fold: int = 4
    tolerance = 1e-4

    @property
    def key(self) -> str:
        """Name of the measurement."""
        return f"patch-moments{{reads={self.reads},most={self.most},fold={self.fold}}}"

    @property
    def passing(self) -> bool:
        """True: its states are too large to be kept for other choices."""
        return True

    @property
    def shaped(self) -> bool:
        """True: values that are not finite come as NaN in their place; their patches are left."""
        return True

    def init(self) -> PatchMomentsState:
        """No sample."""
        return PatchMomentsState()

    def update(self, state: PatchMomentsState, sample: int, x: NDArray[Any]) -> PatchMomentsState:
        """*state* with the values *x* of sample number *sample*."""
        return self.join(state, [(sample, self.look(x))]) if x.size else state

    def look(self, x: NDArray[Any], low: float = 0.0, high: float = 0.0) -> Moments | Array:
        """The patches of one sample, or their sums, which is smaller; extremes do not matter."""
        found = finite_patches(self.reads, x, self.most)
        return found if found.shape[1] < found.shape[2] else _sums(found)

    def join(
        self, state: PatchMomentsState, found: Sequence[tuple[int, Moments | Array]]
    ) -> PatchMomentsState:
        """*state* with what ``look`` found in some samples."""
        for sample, seen in found:
            one = seen if isinstance(seen, Moments) else _sums(seen)
            if sample % self.fold == self.fold - 1:
                state = replace(state, held=state.held + one)
            else:
                state = replace(state, fitted=state.fitted + one)
        return state

    def merge(self, a: PatchMomentsState, b: PatchMomentsState) -> PatchMomentsState:
        """Both."""
        return PatchMomentsState(a.fitted + b.fitted, a.held + b.held)

    def to_arrays(self, state: PatchMomentsState) -> dict[str, NDArray[Any]]:
        """Arrays ``fitted_…`` and ``held_…``, one for each sum."""
        return {
            f"{part}_{name}": np.asarray(value)
            for part, moments in (("fitted", state.fitted), ("held", state.held))
            for name, value in vars(moments).items()
        }

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> PatchMomentsState:
        """Inverse of ``to_arrays``."""
        fitted, held = (
            Moments(int(arrays[f"{p}_count"]), arrays[f"{p}_total"], arrays[f"{p}_square"])
            for p in ("fitted", "held")
        )
        return PatchMomentsState(fitted, held)


def _sums(patches: Array) -> Moments:
    if not patches.shape[1]:
        return NOTHING
    return Moments(patches.shape[1], patches.sum(axis=1), patches.transpose(0, 2, 1) @ patches)
