"""What was measured of a tensor, as ranges need it: extremes by sample, and a histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ExtremesState:
    """Smallest and largest value of each sample.

    Attributes:
        samples: int64 [n], indices of the samples that had values, ascending and unique.
        low, high: float32 [n], the extremes of each.
    """

    samples: NDArray[np.int64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value of all samples; (0, 0) where there was none."""
        if not self.samples.size:
            return 0.0, 0.0
        return float(self.low.min()), float(self.high.max())


@dataclass(frozen=True, eq=False)
class HistogramState:
    """Counts on a grid of power-of-two width that is anchored at zero.

    Bin ``start + i`` holds the ``counts[i]`` values in ``[start + i, start + i + 1) · 2^exponent``.
    The first and the last bin are not empty.

    Attributes:
        exponent: binary logarithm of the width of a bin.
        start: index of the first bin.
        counts: int64 [n]; of size 0 where no value was seen.
        low, high: the exact smallest and largest value; (0, 0) where there was none.
    """

    exponent: int
    start: int
    counts: NDArray[np.int64]
    low: float = 0.0
    high: float = 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value; (0, 0) where there was none."""
        return self.low, self.high

    @property
    def width(self) -> float:
        """Width of a bin."""
        return float(np.ldexp(1.0, self.exponent))

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins, float64 [n + 1]; the outermost are the exact extremes."""
        if not self.counts.size:
            return np.zeros(1)
        bins = np.arange(self.counts.size + 1, dtype=np.float64)
        edges: NDArray[np.float64] = np.multiply(bins + self.start, self.width)
        edges[0], edges[-1] = self.low, self.high
        return edges

    @property
    def centers(self) -> NDArray[np.float64]:
        """The value that stands for each bin, float64 [n]: the middle of what it can hold."""
        edges = self.edges
        return np.asarray((edges[:-1] + edges[1:]) / 2, np.float64)
