"""Whether two runs gave the same outputs, within a tolerance.

The error of a floating-point output is its largest deviation relative to its largest magnitude:

    e = max|a − b| / max|a|

Values that are NaN, or the same infinity, in both are equal. For integer and other outputs it is
the share of values that differ, of which one in a hundred is let pass: a decision between two
nearly equal numbers may fall either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model

Outputs = Mapping[str, NDArray[np.generic]]
Compare = Callable[[Model], Outputs]
"""Runs a model on a few real samples: output name (or name and sample) to values."""

DECISIONS = 0.01
"""Share of the values of an integer output that may differ."""

_TINY = 1e-30


def worst(before: Outputs, after: Outputs, tolerance: float) -> tuple[str, float]:
    """The output that exceeds *tolerance* most, and its error; ``("", 0.0)`` where none does."""
    name, excess, found = "", 1.0, 0.0
    for key, a in before.items():
        b = after.get(key)
        error = float("inf") if b is None else error_of(a, b)
        allowed = tolerance if np.issubdtype(a.dtype, np.inexact) else DECISIONS
        ratio = error / max(allowed, _TINY)
        if error > allowed and ratio > excess:
            name, excess, found = key, ratio, error
    return name, found


def error_of(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """The error e of *b* against *a* (any equal shapes), infinite where the shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    if a.size == 0:
        return 0.0
    if not np.issubdtype(a.dtype, np.inexact):
        return float(np.mean(a != b))
    x, y = a.astype(np.float64), b.astype(np.float64)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    if not np.isfinite(x[~same]).all() or not np.isfinite(y[~same]).all():
        return float("inf")
    if same.all():
        return 0.0
    size = np.abs(x[np.isfinite(x)]).max(initial=0.0)
    return float(np.abs(x[~same] - y[~same]).max() / max(size, _TINY))
