"""How alike two tensors are, judged on a fixed draw of their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Values compared of each tensor.
DRAW = 4096
#: Magnitudes that stand for "never" in masks rather than for a value.
_MASK = 1e4
#: What stands for the ratio of two tensors of zeros: alike, but that says little.
NOTHING_DB = 25.0
_EPS = 1e-30


class Candidates:
    """The float model's tensors on one sample, to be compared with many others.

    Args:
        values: tensors by name; those that are not floats, or empty, are left out.
    """

    def __init__(self, values: Mapping[str, NDArray[Any]]) -> None:
        self._names: dict[tuple[int, ...], list[str]] = {}
        for name, value in values.items():
            if value.dtype.kind == "f" and value.size:
                self._names.setdefault(value.shape, []).append(name)
        self._rows = {
            shape: np.stack([draw(values[n]) for n in names])
            for shape, names in self._names.items()
        }
        self._masked = {s: bool((np.abs(rows) >= _MASK).any()) for s, rows in self._rows.items()}

    def names(self) -> list[str]:
        """All names."""
        return [name for names in self._names.values() for name in names]

    def shaped(self, shape: tuple[int, ...]) -> list[str]:
        """Names of the tensors of *shape*."""
        return self._names.get(shape, [])

    def compare(self, value: NDArray[Any]) -> dict[str, float]:
        """SQNR in dB of *value* against each tensor of its shape, by name; at most 120."""
        names = self.shaped(value.shape)
        if not names:
            return {}
        rows, y = self._rows[value.shape], draw(value)
        error = rows - y
        if (
            self._masked[value.shape]
            and (masked := (np.abs(rows) >= _MASK) & (np.abs(y) >= _MASK)).any()
        ):
            error, rows = np.where(masked, 0, error), np.where(masked, 0, rows)
        signal, noise = (np.einsum("ij,ij->i", x, x).astype(np.float64) for x in (rows, error))
        ratio = np.where(signal + noise > 0, ratio_db(signal, noise), NOTHING_DB)
        return dict(zip(names, ratio.tolist(), strict=True))


def ratio_db(signal: NDArray[Any], noise: NDArray[Any]) -> NDArray[np.float64]:
    """10 · log₁₀(signal / noise), within ± 120 dB."""
    found = 10 * np.log10((signal + _EPS) / (noise + _EPS))
    return np.asarray(np.clip(np.where(signal > 0, found, -120.0), -120, 120), np.float64)


def draw(value: NDArray[Any]) -> NDArray[np.float32]:
    """At most ``DRAW`` values of *value*, at places that depend on its size alone."""
    flat = np.nan_to_num(value.reshape(-1).astype(np.float32, copy=False), posinf=0, neginf=0)
    if flat.size <= DRAW:
        return np.asarray(flat, np.float32)
    places = np.random.default_rng(flat.size).integers(0, flat.size, DRAW)
    return np.asarray(flat[places], np.float32)


def channel_factors(real: NDArray[Any], other: NDArray[Any]) -> tuple[float, float] | None:
    """Least and largest factor, where *other* is *real* with each channel (axis 1) scaled.

    None where it is not: one factor fits all channels, or the values do not agree to 15 dB even
    when every channel is scaled to fit.
    """
    if real.shape != other.shape or real.ndim < 2 or real.shape[1] < 2:
        return None
    x = np.moveaxis(real.astype(np.float64), 1, 0).reshape(real.shape[1], -1)
    y = np.moveaxis(other.astype(np.float64), 1, 0).reshape(real.shape[1], -1)
    power, cross = np.square(x).sum(1), (x * y).sum(1)
    live = power > power.max(initial=0.0) * 1e-6
    if live.sum() < 2:
        return None
    factor = cross[live] / power[live]
    noise = np.square(y[live] - factor[:, None] * x[live]).sum()
    if ratio_db(np.square(factor[:, None] * x[live]).sum(), noise) < 15.0:
        return None
    low, high = float(factor.min()), float(factor.max())
    return (low, high) if low > 0 and high > 1.05 * low else None


def same_weights(one: NDArray[Any], two: NDArray[Any]) -> float:
    """How alike two weights are up to a factor for each output channel, from -1 to 1.

    The median of the channels' cosines, output channels along axis 0 or, for matrices, along the
    axis where it is larger; matrices may be transposed; -1 where the shapes do not fit.
    """
    found = [-1.0]
    forms = [two, two.T] if two.ndim == 2 else [two]
    for form in forms:
        if form.shape != one.shape or one.size < 2:
            continue
        for axis in range(2 if one.ndim == 2 else 1):
            a = np.moveaxis(one.astype(np.float64), axis, 0).reshape(one.shape[axis], -1)
            b = np.moveaxis(form.astype(np.float64), axis, 0).reshape(one.shape[axis], -1)
            norms = np.sqrt(np.square(a).sum(1) * np.square(b).sum(1))
            if a.shape[1] > 1 and (live := norms > 0).any():
                found.append(float(np.median((a * b).sum(1)[live] / norms[live])))
    return max(found)


def why_not(score: Mapping[str, float], shape: tuple[int, ...]) -> str:
    """Why none of the float tensors in *score*, with their SQNR in dB, is one of *shape*."""
    if not score:
        return f"no tensor of the float model has its shape {list(shape)}"
    best = max(score, key=lambda name: score[name])
    return (
        f"no tensor of the float model has its values: the nearest, '{best}', "
        f"agrees to {score[best]:.1f} dB, and another operator computes it"
    )
