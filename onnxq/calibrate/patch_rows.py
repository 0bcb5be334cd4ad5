"""Some of the patches that a layer with weights reads, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.patches import Reads

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PatchRowsState:
    """Patches [groups, patches, K] by sample, in the order of samples."""

    samples: tuple[tuple[int, Array], ...] = ()


@dataclass(frozen=True)
class PatchRows:
    """Patches themselves, for what cannot be said in sums; a few of each sample.

    Of two tensors of one shape the same places are taken, so that patches of the float and of the
    quantized model belong together. Merging is exact, associative and commutative.

    Attributes:
        reads: which values belong to a patch.
        most: most patches of one sample.
    """

    reads: Reads
    most: int

    @property
    def key(self) -> str:
        """Name of the measurement."""
        return f"patch-rows{{reads={self.reads},most={self.most}}}"

    @property
    def passing(self) -> bool:
        """True: its states are too large to be kept for other choices."""
        return True

    @property
    def shaped(self) -> bool:
        """True: values that are not finite come as NaN in their place."""
        return True

    def init(self) -> PatchRowsState:
        """No sample."""
        return PatchRowsState()

    def look(self, x: NDArray[Any], low: float = 0.0, high: float = 0.0) -> Array:
        """The patches of one sample; extremes do not matter."""
        return np.asarray(self.reads.patches(np.asarray(x, np.float32), self.most))

    def update(self, state: PatchRowsState, sample: int, x: NDArray[Any]) -> PatchRowsState:
        """*state* with patches of sample number *sample*, from its values or from ``look``."""
        return self.merge(state, PatchRowsState(((sample, x),)))

    def merge(self, a: PatchRowsState, b: PatchRowsState) -> PatchRowsState:
        """Both."""
        return PatchRowsState(tuple(sorted([*a.samples, *b.samples], key=lambda s: s[0])))

    def to_arrays(self, state: PatchRowsState) -> dict[str, NDArray[Any]]:
        """An array a sample, by its number."""
        return {str(sample): rows for sample, rows in state.samples}

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> PatchRowsState:
        """Inverse of ``to_arrays``."""
        return PatchRowsState(tuple(sorted((int(k), v) for k, v in arrays.items())))
