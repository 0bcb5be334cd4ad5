"""Counts of equal and unequal codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Counts:
    """Elements that are equal, differ by one, and differ by more."""

    exact: int = 0
    off_by_one: int = 0
    worse: int = 0

    @property
    def all(self) -> int:
        """Number of elements."""
        return self.exact + self.off_by_one + self.worse

    @property
    def equal(self) -> bool:
        """Whether all elements are."""
        return not (self.off_by_one or self.worse)

    def add(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.int64]:
        """Count the elements of *a* against those of *b*; returns ``a - b``."""
        difference = a.astype(np.int64) - b.astype(np.int64)
        size = np.abs(difference)
        exact, one = int(np.sum(size == 0)), int(np.sum(size == 1))
        self.exact += exact
        self.off_by_one += one
        self.worse += int(size.size) - exact - one
        return difference
