"""Moments behind layers with weights, whose inputs are taken for independent.

    E[y_m] = Σ_c w_mc E[x_c] + b_m           Var[y_m] = Σ_c w_mc² Var[x_c]

for matrices; c runs over channels. In a window neighbours of one channel are alike: with the
correlation ρ between them a channel adds ``(ρ (Σ_k w_mck)² + (1 − ρ) Σ_k w_mck²) Var[x_c]``.

Independent channels average out, deep down to nothing; what samples have in common does not. A
factor 1 + κ z on all channels of a sample, its contrast, adds ``κ² (E[y_m] − b_m)²``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.datafree.points import Points, Vector, merged, moments

NEIGHBOURS = 0.5
"""ρ: white noise has 0, a flat image 1; feature maps lie between."""
CONTRAST = 1 / 3
"""κ: how much samples differ as a whole, relative to their mean."""


def conv(
    x: Points, w: NDArray[Any], bias: NDArray[Any] | None, attributes: dict[str, Any], name: str
) -> tuple[Vector, Vector]:
    """Mean and variance of each output channel of a Conv, both [1, M, 1, …]."""
    group = int(attributes.get("group", 1))
    flat = w.astype(np.float64).reshape(*w.shape[:2], -1)
    inputs = w.shape[1] * group
    mean, variance = _channels(x, 1, inputs, name)
    total, power = flat.sum(axis=2), np.square(flat).sum(axis=2)
    seen = NEIGHBOURS * np.square(total) + (1 - NEIGHBOURS) * power
    m, v = (
        np.einsum("gmc,gc->gm", rows.reshape(group, -1, w.shape[1]), by.reshape(group, -1))
        for rows, by in ((total, mean), (seen, variance))
    )
    return _shaped(m.reshape(-1), v.reshape(-1), bias, 1, w.ndim)


def conv_transpose(
    x: Points, w: NDArray[Any], bias: NDArray[Any] | None, attributes: dict[str, Any], name: str
) -> tuple[Vector, Vector]:
    """The same of a ConvTranspose: with a stride, an output sees only some of the window."""
    group = int(attributes.get("group", 1))
    share = 1.0 / np.prod(attributes.get("strides", [1]))
    flat = w.astype(np.float64).reshape(group, -1, w.shape[1], int(np.prod(w.shape[2:])))
    mean, variance = _channels(x, 1, w.shape[0], name)
    total, power = flat.sum(axis=3) * share, np.square(flat).sum(axis=3) * share
    m, v = (
        np.einsum("gcm,gc->gm", rows, by.reshape(group, -1))
        for rows, by in ((total, mean), (power, variance))
    )
    return _shaped(m.reshape(-1), v.reshape(-1), bias, 1, w.ndim)


def matrix(
    x: Points, w: NDArray[Any], bias: NDArray[Any] | None, name: str
) -> tuple[Vector, Vector]:
    """The same of ``x @ w + bias`` with w [K, N], along the last axis."""
    mean, variance = _channels(x, x.ndim - 2, w.shape[0], name)
    w = w.astype(np.float64)
    rank = x.ndim - 1
    return _shaped(mean @ w, variance @ np.square(w), bias, rank - 1, rank)


def product(x: Points, y: Points, terms: int) -> tuple[Vector, Vector]:
    """The same of a product of two activations that sums *terms* products; all outputs alike."""
    (m, v), (n, u) = ((p.mean(dtype=np.float64), p.var(dtype=np.float64)) for p in (x, y))
    rank = max(x.ndim, y.ndim) - 1
    mean, variance = terms * m * n, terms * (v * u + v * n**2 + u * m**2)
    return np.full([1] * rank, mean), np.full([1] * rank, variance)


def _channels(x: Points, axis: int, count: int, name: str) -> tuple[Vector, Vector]:
    """Moments of *x* by index of *axis*, whose size is *count*."""
    others = tuple(i for i in range(x.ndim - 1) if i != axis)
    mean, variance = (v.reshape(-1) for v in moments(merged(x, others, name)))
    return np.broadcast_to(mean, (count,)), np.broadcast_to(variance, (count,))


def _shaped(
    mean: Vector, variance: Vector, bias: NDArray[Any] | None, axis: int, rank: int
) -> tuple[Vector, Vector]:
    shape = [1] * rank
    shape[axis] = -1
    variance = variance + CONTRAST**2 * np.square(mean)
    if bias is not None:
        mean = mean + bias.astype(np.float64).reshape(-1)
    return mean.reshape(shape), variance.reshape(shape)
