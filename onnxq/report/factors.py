"""Channels that a quantizer has scaled: by how much, as noted in the model or seen in its values.

Equalization multiplies channel c of a tensor by a factor a_c > 0 that later layers take back. With
x the float model's values on a sample and y the quantized model's, y_c ≈ a_c · x_c.

- onnxq notes its factors in the model. Where tensors have lost their names, a noted vector belongs
  to the tensor that it fits: the noise of a · x against y is less than that of x.
- Of other tools' models they are estimated. Behind a convolution its weights show them (see
  ``weight_factors``); they are believed where with them the values fit ``SEEN_DB`` better. Else
  a_c = Σ x·y / Σ x² on every other value of the channel, believed where the values in between
  confirm it: a · x has ``SURE_DB`` against y there, ``GAIN_DB`` more than with one factor for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.pipeline.scaled import scale_factors
from onnxq.report.likeness import ratio_db

Vector = NDArray[np.float64]

#: SQNR in dB from which a noted vector fits, and what it has to gain against no factors.
FIT_DB, BETTER_DB = 12.0, 0.5
#: The same for a vector that was seen in weights.
SEEN_DB = 3.0
#: SQNR in dB from which an estimate is believed, and what it has to gain against one factor.
SURE_DB, GAIN_DB = 20.0, 6.0
#: Values that a channel has to have for an estimate.
_LEAST = 8
#: A channel with less than this share of the largest power is silent.
_SILENT = 1e-6


class Noted:
    """The factors that onnxq has noted in a quantized model.

    Attributes:
        by_name: by tensor name, its factors against the original, see ``scale_factors``.
        vectors: the distinct ones.
        complete: whether onnxq made the model, so that nothing else can be scaled.
    """

    def __init__(self, original: Model, quantized: Model) -> None:
        before = scale_factors(original)
        self.by_name = {
            name: vector / before[name] if name in before else vector
            for name, vector in scale_factors(quantized).items()
        }
        self.by_name = {n: v for n, v in self.by_name.items() if (v != 1.0).any()}
        self.vectors = list({v.tobytes(): v for v in self.by_name.values()}.values())
        self.complete = "onnxq.recipe" in quantized.metadata


def fitting(
    x: NDArray[Any], y: NDArray[Any], vectors: Sequence[Vector], better: float = BETTER_DB
) -> tuple[Vector, float]:
    """That of *vectors* which fits best, and its SQNR in dB; all 1 where none is *better* (dB)."""
    channels = x.shape[1] if x.ndim > 1 else 0
    one = np.ones(channels)
    if not channels:
        return one, -np.inf
    spread = [vector for vector in vectors if vector.ndim > 1 and fits(vector, x.shape)]
    power, cross, other = _sums(_rows(x), _rows(y))
    best, least = one, _score(one, power, cross, other)
    least += better
    for vector in vectors:
        if vector.ndim > 1:
            continue
        whole = vector
        if 0 < vector.size < channels and channels % vector.size == 0:  # flattened
            whole = np.repeat(vector, channels // vector.size)
        if whole.size == channels:
            score = _score(whole, power, cross, other)
            if score >= FIT_DB and score > least:
                best, least = whole, score
    for vector in spread:
        scaled, wanted = (np.nan_to_num(v.astype(np.float64)) for v in (x * vector, y))
        score = float(ratio_db(np.square(scaled).sum(), np.square(wanted - scaled).sum()))
        if score >= FIT_DB and score > least:
            best, least = vector, score
    return best, least if (best != 1.0).any() else least - better


def estimate(x: NDArray[Any], y: NDArray[Any]) -> tuple[Vector, float] | None:
    """Factors that take *x* to *y* [n, channels, …], and the SQNR (dB) that confirms them.

    None where that fails. Channels that are silent on the sample get the mean of the others'.
    """
    if x.ndim < 2 or x.shape != y.shape or x.shape[1] < 2 or x.size < _LEAST * x.shape[1]:
        return None
    a, b = _rows(x), _rows(y)
    first, second = (_sums(a[:, i::2], b[:, i::2]) for i in (0, 1))
    live = (first[0] > _SILENT * first[0].max()) & (second[0] > _SILENT * second[0].max())
    if live.sum() < 2:
        return None
    found = first[1][live] / first[0][live]
    if found.min() <= 0 or found.max() <= 1.05 * found.min():
        return None
    checked = [v[live] for v in second]
    score = _score(found, *checked)
    common = np.full(found.shape, first[1][live].sum() / first[0][live].sum())
    if score < SURE_DB or score < _score(common, *checked) + GAIN_DB:
        return None
    whole = [a + b for a, b in zip(first, second, strict=True)]
    factors = np.full(live.shape, np.exp(np.log(found).mean()))
    factors[live] = whole[1][live] / whole[0][live]
    return factors, score


def fits(vector: Vector, shape: tuple[int, ...]) -> bool:
    """Whether *vector* can be the factors of a tensor of *shape*."""
    if vector.ndim == 1:
        return shape[1:2] == (vector.size,)
    return vector.ndim == len(shape) and all(
        n in (1, length) for n, length in zip(vector.shape, shape, strict=True)
    )


def shaped(vector: Vector, like: NDArray[Any]) -> NDArray[Any]:
    """*vector* along axis 1 of *like*, or as it is where it has the rank of *like*; of its type."""
    if vector.ndim > 1:
        return vector.astype(like.dtype)
    return vector.reshape([1, -1] + [1] * (like.ndim - 2)).astype(like.dtype)


def of_joined(sources: Sequence[tuple[Vector | None, int]]) -> list[Vector]:
    """What *sources*, factors and numbers of channels, can hand on: each alone, or all joined."""
    known = [vector for vector, _ in sources if vector is not None]
    if known and len(sources) > 1 and all(vector.ndim == 1 for vector in known):
        known.append(np.concatenate([np.ones(n) if v is None else v for v, n in sources]))
    return known


def _rows(value: NDArray[Any]) -> NDArray[np.float64]:
    """*value* as [channels, values]."""
    rows = np.moveaxis(np.nan_to_num(value.astype(np.float64), posinf=0.0, neginf=0.0), 1, 0)
    return np.asarray(rows.reshape(value.shape[1], -1))


def _sums(x: Vector, y: Vector) -> tuple[Vector, Vector, Vector]:
    """Σ x², Σ x·y and Σ y² of each row."""
    return np.square(x).sum(1), (x * y).sum(1), np.square(y).sum(1)


def _score(factors: Vector, power: Vector, cross: Vector, other: Vector) -> float:
    """SQNR in dB of y against *factors* · x."""
    signal = np.square(factors) * power
    noise = other - 2 * factors * cross + signal
    return float(ratio_db(signal.sum(), np.maximum(noise, 0.0).sum()))
