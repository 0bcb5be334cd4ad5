"""Whether two runs gave the same outputs, within a tolerance.

The error of a floating-point output is its largest deviation relative to its largest magnitude:

    e = max|a − b| / max|a|

Values that are NaN, or the same infinity, in both are equal. For integer and other outputs it is
the share of values that differ, of which one in a hundred is let pass: a decision between two
nearly equal numbers may fall either way. Where a model computes in half precision, its own rounding
is the least that is let pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model

Outputs = Mapping[str, NDArray[np.generic]]
Compare = Callable[[Model], Outputs]
"""Runs a model on a few real samples: output name (or name and sample) to values."""

DECISIONS = 0.01
"""Share of the values of an integer output that may differ."""

HALF = 4 * 2.0**-10
"""Four steps of float16 at 1: what the rounding of a few layers in half precision comes to."""

_TINY = 1e-30


def worst(before: Outputs, after: Outputs, tolerance: float) -> tuple[str, float]:
    """The output that exceeds *tolerance* most, and its error; ``("", 0.0)`` where none does."""
    name, excess, found = "", 1.0, 0.0
    for key, a in before.items():
        b = after.get(key)
        error = float("inf") if b is None else error_of(a, b)
        allowed = tolerance if np.issubdtype(a.dtype, np.inexact) else DECISIONS
        if a.dtype == np.float16:
            allowed = max(allowed, HALF)
        ratio = error / max(allowed, _TINY)
        if error > allowed and ratio > excess:
            name, excess, found = key, ratio, error
    return name, found


def rounding_of(model: Model, least: float) -> float:
    """What *model* loses by rounding: *least*, or ``HALF`` where it holds float16 constants."""
    for node in model.nodes():
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant) and tensor.dtype == np.float16:
                return max(least, HALF)
    return least


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
