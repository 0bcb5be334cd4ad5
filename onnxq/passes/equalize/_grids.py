"""Codes of patches, and which range of an activation is the best to round them in; numpy only.

A range that ends below the largest values has smaller steps, and cuts them. Of a few shares of the
whole range the one with the least error counts, each input's error weighed by what it makes of the
outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onnxq.quant import QuantSpec
from onnxq.quant.affine import affine, codes_in_use

Patches = NDArray[np.float32]

_CLIPS = np.array([1.0, 0.8, 0.64, 0.5])
"""Shares of the largest values that the range of an activation may end at."""
_SEARCHED = 2
"""One patch of so many tells which of them is best."""
_PIECE = 1 << 16
"""Values that are worked on at a time."""


def best_grid(
    x: Patches,
    factor: Patches | np.float32,
    reach: Patches,
    ends: tuple[NDArray[np.floating], NDArray[np.floating]],
    spec: QuantSpec,
) -> tuple[np.float32, int]:
    """Scale and zero point for *x* times *factor*.

    Args:
        x: patches [groups, K, n].
        factor: by input, [groups, K, 1], or one for all.
        reach: by input, what a squared error in *x* makes behind the layer, [groups, K, 1].
        ends: smallest and largest values, of *x* or more, by input as *reach*.
        spec: how it is rounded.
    """
    low, high = (ends[0] * factor).min(initial=0.0), (ends[1] * factor).max(initial=0.0)
    scales, zeros = affine(np.float64(low) * _CLIPS, np.float64(high) * _CLIPS, spec)
    weight = np.broadcast_to(np.sqrt(reach) / factor, reach.shape)
    factor = np.broadcast_to(factor, reach.shape)
    some, lost = x[:, :, ::_SEARCHED], np.zeros(scales.size)
    for part in parts_of(some):
        scaled = some[part] * factor[part]
        for i, (scale, zero) in enumerate(zip(scales, zeros, strict=True)):
            steps = scaled / scale
            error = codes(steps, zero, spec)
            error -= steps
            error *= weight[part]
            lost[i] += float(np.vdot(error, error)) * float(scale) ** 2
    best = int(np.argmin(lost))
    return scales[best], int(zeros[best])


def nearest(
    x: Patches, scale: NDArray[np.float32], zero: NDArray[np.int64], spec: QuantSpec
) -> Patches:
    """*x* rounded to the codes of *spec*, and real again."""
    return np.asarray(codes(x / scale, zero, spec) * scale, np.float32)


def codes(x: Patches, zero: NDArray[np.int64] | int, spec: QuantSpec) -> Patches:
    """*x*, in steps, rounded to codes of *spec*, from which *zero* is subtracted."""
    low, high = codes_in_use(spec)
    found = np.rint(x)
    return np.clip(found, np.float32(low - int(zero)), np.float32(high - int(zero)), out=found)


def parts_of(x: Patches) -> Iterator[slice]:
    """Groups of *x*, a few at a time, so that what is computed of them stays in a core's cache."""
    step = max(_PIECE // max(x[0].size, 1), 1)
    return (slice(i, i + step) for i in range(0, len(x), step))
