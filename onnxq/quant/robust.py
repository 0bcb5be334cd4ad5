"""Means that a few values far from the others do not rule.

Source: Huber 1964, "Robust Estimation of a Location Parameter": values count up to a limit, here a
multiple of the median distance from the median (Hampel 1974, "The Influence Curve").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_FAR = 2.0
"""Times the median distance from the median, the most that a value counts: 1.35 standard deviations
of normal values, of whose mean 95 % of the certainty is kept (Huber's usual choice)."""


def average(values: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted mean and variance of each column of *values*; for the arguments see ``typical``."""
    total = np.maximum(weights.sum(axis=0), np.finfo(np.float64).tiny)
    mean = (weights * values).sum(axis=0) / total
    return mean, (weights * np.square(values - mean)).sum(axis=0) / total


def typical(values: Array, weights: Array) -> tuple[Array, Array]:
    """Mean and variance of each column of *values*, what is far from its median cut to a limit.

    Args:
        values: [rows, columns], finite.
        weights: how much each value counts, of the same shape, not negative.

    Returns:
        Both [columns]; 0 where all weights are.
    """
    middle = weighted_median(values, weights)
    limit = _FAR * weighted_median(np.abs(values - middle), weights)
    return average(np.clip(values, middle - limit, middle + limit), weights)


def weighted_median(values: Array, weights: Array) -> Array:
    """Of each column of *values* the value that half of the weight is on either side of.

    Halfway between two where half of the weight ends between them.
    """
    order = np.argsort(values, axis=0, kind="stable")
    ranked = np.take_along_axis(values, order, 0)
    below = np.cumsum(np.take_along_axis(weights, order, 0), axis=0)
    half, columns = below[-1] / 2, np.arange(values.shape[1])
    # sums of many weights are off by a few ulp: equal to half is within a small share of it
    low = (below >= half * (1 - 1e-12)).argmax(axis=0)
    high = (below > half * (1 + 1e-12)).argmax(axis=0)
    return np.asarray((ranked[low, columns] + ranked[np.maximum(low, high), columns]) / 2)
