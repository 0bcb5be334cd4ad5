"""Points that stand for the values of a tensor: one array [points, *extents].

Extents broadcast against the tensor's shape: 1 along axes where all values are alike, the size of
the axis where each index has its own distribution, such as [1024, 1, channels, 1, 1]. A point is a
draw of all of them together. Where moments are all that is known, points are quantiles of a normal
distribution, shuffled for each channel, so that channels are independent of each other.
"""

from __future__ import annotations

import zlib
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Vector = NDArray[np.float64]

COUNT = 1024
REACH = 6.0
"""The outermost points, in standard deviations: the n of β ± n·γ (Nagel et al. 2019, section 5)."""
MOST = 1 << 14
"""Most distributions of one tensor that are told apart."""


@cache
def quantiles() -> Vector:
    """Quantiles of the standard normal distribution, float64 [COUNT], with ends at ± REACH.

    Mean 0, variance 1: the inner ones make up for the ends.
    """
    at = (np.arange(COUNT) + 0.5) / COUNT
    found = np.array([NormalDist().inv_cdf(p) for p in at.tolist()])
    found[[0, -1]] = -REACH, REACH
    inner = found[1:-1]
    inner *= np.sqrt((COUNT - 2 * REACH**2) / np.sum(inner**2))
    return found


def rng(name: str) -> np.random.Generator:
    """The generator of random numbers that belongs to a tensor: the same in each run."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def normal(mean: Vector, deviation: Vector, name: str) -> Points:
    """Points of the tensor *name* with moments *mean* and *deviation*, both of its extents."""
    return shuffled(mean + deviation * quantiles().reshape(-1, *[1] * mean.ndim), name)


def shuffled(points: NDArray[np.floating], name: str) -> Points:
    """*points* with an order of its own for each distribution."""
    flat = points.reshape(len(points), -1)
    order = rng(name).random(flat.shape, np.float32).argsort(axis=0)
    return np.take_along_axis(flat, order, axis=0).reshape(points.shape).astype(np.float32)


def merged(points: Points, axes: tuple[int, ...], name: str) -> Points:
    """*points* with extent 1 along the tensor's *axes*: any index there, each as likely."""
    random = rng(name)
    for axis in axes:
        size = points.shape[axis + 1]
        if size > 1:
            which = random.integers(0, size, len(points))
            which = which.reshape(-1, *[1] * (points.ndim - 1))
            points = np.take_along_axis(points, which, axis=axis + 1)
    return points


def thinned(points: Points, name: str) -> Points:
    """*points* with at most ``MOST`` distributions: the longest axes are merged."""
    while points[0].size > MOST:
        longest = int(np.argmax(points.shape[1:]))
        points = merged(points, (longest,), name)
    return points


def moments(points: Points) -> tuple[Vector, Vector]:
    """Mean and variance of each distribution, float64 of the extents."""
    return points.mean(axis=0, dtype=np.float64), points.var(axis=0, dtype=np.float64)
