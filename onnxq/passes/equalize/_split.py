"""Which input channels of a weight to split into copies, and the weights of the copies.

With n copies of a channel a weight w becomes the n weights

    w_k = (w + s · (k − (n − 1) / 2)) / n,        k = 0 … n − 1

whose sum is w. With z = w / (n·s) + 1 / (2n) they round to ⌊z + k/n⌋ steps s each, which add up
to ⌊n·z⌋ = ⌊w/s + 1/2⌋ (Hermite's identity): together the copies are rounded as w would be with
steps s, and not n times. For n = 2 these are (w − s/2) / 2 and (w + s/2) / 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxq.quant import PerAxis, QuantSpec
from onnxq.quant.choose import weight_codes, weight_qparams

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """A weight whose input channels are on *axis*, some of them in copies.

    Attributes:
        weight: the weights with the copies behind all others, float32.
        channels: by channel of it, the channel that it copies, int64 [channels + copies].
        before, after: mean squared rounding error of the weights, copies added up.
    """

    weight: NDArray[np.float32]
    channels: Ids
    before: float
    after: float


def most_outlying(magnitude: Array, copies: int) -> Ids:
    """The channels to copy, one after the other, by their *magnitude* [scales, channels].

    Next is always the channel that sets most of what steps there are, as a sum of squares: the
    largest weight of all where the tensor has one scale.
    """
    counts = np.ones(magnitude.shape[1])
    chosen = []
    for _ in range(copies):
        left = magnitude / counts
        widest = left.argmax(axis=1)
        sets = np.square(left[np.arange(len(left)), widest])
        chosen.append(int(np.bincount(widest, sets, minlength=counts.size).argmax()))
        counts[chosen[-1]] += 1
    return np.array(chosen, np.int64)


def split(
    weight: NDArray[np.float32], axis: int, copies: int, window: int, spec: QuantSpec
) -> Split:
    """*weight* with so many *copies* of input channels, each *window* places long on *axis*.

    *spec* says how it will be rounded; output channels are on the other one of the first two axes.
    """
    whole = _channels(weight, axis, window)
    magnitude = np.abs(whole).max(axis=(1, *range(3, whole.ndim))).T.astype(np.float64)
    if not isinstance(spec.granularity, PerAxis):
        magnitude = magnitude.max(axis=0, keepdims=True)
    chosen = most_outlying(magnitude, copies)
    channels = np.concatenate([np.arange(len(whole)), chosen])
    count = np.bincount(channels)[channels]
    number = np.array([(channels[:i] == c).sum() for i, c in enumerate(channels)])
    places = (channels[:, None] * window + np.arange(window)).reshape(-1)
    along = [-1 if i == axis else 1 for i in range(weight.ndim)]
    n, offset = (np.repeat(v, window).reshape(along) for v in (count, number - (count - 1) / 2))
    plain = np.take(weight, places, axis).astype(np.float64)
    made = (plain / n).astype(np.float32)
    for _ in range(4):  # offsets widen the range and so the steps: by less from time to time
        made = ((plain + _steps(made, spec) * offset * (n > 1)) / n).astype(np.float32)
    gone = np.zeros(whole.shape)
    np.add.at(gone, channels, _channels(_rounded(made, spec), axis, window))
    after = float(np.square(gone - whole).mean())
    before = float(np.square(_rounded(weight, spec).astype(np.float64) - weight).mean())
    return Split(made, channels, before, after)


def _channels(weight: NDArray[np.float32], axis: int, window: int) -> NDArray[np.float32]:
    """*weight* as [channels, window, outputs, ...]."""
    moved = np.moveaxis(weight, axis, 0)
    return moved.reshape(-1, window, *moved.shape[1:])


def _steps(weight: NDArray[np.float32], spec: QuantSpec) -> Array:
    """The steps that *weight* is rounded to, shaped to multiply it."""
    scale = np.asarray(weight_qparams(weight, spec).scale, np.float64)
    if scale.ndim and isinstance(spec.granularity, PerAxis):
        return scale.reshape([-1 if i == spec.granularity.axis else 1 for i in range(weight.ndim)])
    return scale


def _rounded(weight: NDArray[np.float32], spec: QuantSpec) -> NDArray[np.float32]:
    qparams = weight_qparams(weight, spec)
    return qparams.dequantize(weight_codes(weight, qparams, spec))
