"""Parameters of constant weights: per tensor or per axis, min-max or least squared error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import OptionError, UnknownNameError
from onnxq.quant.affine import (
    SMALLEST_SCALE,
    affine,
    ceil_power_of_two,
    codes_in_use,
    symmetric_zero,
)
from onnxq.quant.dtypes import DType
from onnxq.quant.half_quadratic import half_quadratic
from onnxq.quant.pairs import from_kernel_rows, kernel_rows, raise_for_pairs, relieve_pairs
from onnxq.quant.qparams import QParams
from onnxq.quant.rounding import quantize
from onnxq.quant.search import OCTAVES
from onnxq.quant.spec import PerAxis, PerBlock, QuantSpec, ScaleRule

Rows = NDArray[np.float32]
_PIECE = 1 << 18
"""Values whose range is searched at a time, so that what it takes stays small and in a cache."""
WEIGHT_METHODS = ("minmax", "mse", "hqq")


def weight_qparams(
    w: NDArray[Any],
    spec: QuantSpec,
    axis: int | None = None,
    *,
    method: str = "minmax",
    min_scale: NDArray[Any] | float = 0.0,
) -> QParams:
    """Scale and zero point of the weight *w* (any shape).

    Args:
        w: the weight, finite.
        spec: how it is quantized; its granularity counts where *axis* is None.
        axis: the axis that keeps its own scale for each index; scale has shape [w.shape[axis]].
        method: ``"minmax"``; ``"mse"``: the range, shrunk by one factor for each channel, with
            the least squared error; or ``"hqq"``: scale and zero point by half-quadratic
            splitting, which forgives a few large errors, for scales of any value.
        min_scale: scales (one, or one a channel) that must not be undercut, such as those below
            which a bias at ``s_x · s_w`` leaves int32.

    Raises:
        OptionError: an unknown method, block granularity, values that are not finite, or
            ``pair_sum_limit`` on asymmetric codes.
    """
    if axis is None:
        if isinstance(spec.granularity, PerBlock):
            raise OptionError(
                "weights in blocks are not supported yet", hint="granularity 'channel'"
            )
        axis = spec.granularity.axis if isinstance(spec.granularity, PerAxis) else None
    w = np.asarray(w, np.float32)
    if axis is not None and knows_pairs(spec):
        rows = kernel_rows(w, axis, spec.pair_axis or 0)
    else:
        spec = replace(spec, pair_axis=None)
        rows = _rows(w, axis)
    if not np.isfinite(rows).all():
        raise OptionError("a weight holds NaN or Inf", hint="exclude its node")
    low = rows.min(axis=1, initial=0.0).astype(np.float64)
    high = rows.max(axis=1, initial=0.0).astype(np.float64)
    turned = np.zeros(len(rows), bool)
    if spec.signed_scale and spec.symmetric and not spec.dtype.floating:
        turned = high > -low
        rows = np.where(turned[:, None], -rows, rows)
        low, high = np.where(turned, -high, low), np.where(turned, -low, high)
    if method in ("mse", "hqq"):
        if spec.scale is ScaleRule.POWER_OF_TWO and spec.symmetric:
            low, high = _best_power_of_two(rows, low, high, spec)
        else:
            size = max(_PIECE // max(rows.shape[1], 1), 1)
            pieces = [slice(i, i + size) for i in range(0, max(len(rows), 1), size)]
            factor = np.concatenate([_best_factor(rows[i], low[i], high[i], spec) for i in pieces])
            low, high = low * factor, high * factor
    elif method not in WEIGHT_METHODS:
        raise UnknownNameError("weight range method", method, WEIGHT_METHODS)
    scale, zero = affine(low, high, spec)
    if method == "hqq":
        scale, zero = _half_quadratic(rows, scale, zero, spec)
    scale = _quiet_channels(scale, low, high)
    if np.any(np.asarray(min_scale) > scale):
        least = np.maximum(scale.astype(np.float64), np.asarray(min_scale, np.float64))
        if spec.scale is ScaleRule.POWER_OF_TWO:
            least = ceil_power_of_two(least)
        scale = least.astype(np.float32)
        zero = zero if spec.symmetric else _zero(low, scale, spec)
    if spec.pair_sum_limit is not None:
        if not spec.symmetric or not spec.dtype.signed:
            raise OptionError("pair_sum_limit needs symmetric signed codes")
        if method == "minmax" or not knows_pairs(spec):
            scale = raise_for_pairs(rows, scale, spec)
    scale = np.where(turned, -scale, scale)
    if axis is None:
        scale, zero = scale.reshape(()), zero.reshape(())
    return QParams(scale, zero, spec.dtype, axis, spec.narrow_range)


def weight_codes(w: NDArray[Any], qparams: QParams, spec: QuantSpec) -> NDArray[Any]:
    """Codes of the weight *w*, in its shape: rounded by *spec*, within ``spec.pair_sum_limit``."""
    codes = quantize(np.asarray(w), qparams, spec.rounding)
    if qparams.axis is None or not knows_pairs(spec):
        return codes
    axis, pair_axis = qparams.axis, spec.pair_axis or 0
    rows = relieve_pairs(kernel_rows(codes, axis, pair_axis), spec.pair_sum_limit or 0)
    return from_kernel_rows(rows, codes.shape, axis, pair_axis)


def nearest_codes(
    x: NDArray[Any], low: NDArray[Any] | int, high: NDArray[Any] | int, kind: DType
) -> NDArray[np.float32]:
    """The codes of *kind* from *low* to *high* that are nearest to *x*, as floats; ties to even."""
    if kind.floating:
        return np.asarray(np.clip(x, low, high).astype(kind.numpy), np.float32)
    codes = np.rint(x)
    np.maximum(codes, low, out=codes)  # twice as fast as clip where bounds differ by row
    np.minimum(codes, high, out=codes)
    return np.asarray(codes, np.float32)


def knows_pairs(spec: QuantSpec) -> bool:
    """Whether codes are limited in pairs, and it is known which ones meet."""
    return spec.pair_sum_limit is not None and spec.pair_axis is not None


def _rows(w: Rows, axis: int | None) -> Rows:
    """*w* as [channels, values of one channel]."""
    if axis is None:
        return w.reshape(1, -1)
    return np.ascontiguousarray(np.moveaxis(w, axis, 0)).reshape(w.shape[axis], -1)


def _zero(low: NDArray[np.float64], scale: NDArray[Any], spec: QuantSpec) -> NDArray[np.int64]:
    qmin, qmax = codes_in_use(spec)
    return np.asarray(np.clip(np.rint(qmin - low / scale), qmin, qmax), np.int64)


def _quiet_channels(
    scale: NDArray[np.float32], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Give channels without extent the largest scale of the others.

    Any scale is exact for zeros; but a bias is stored at ``s_x · s_w``, and 1 would be too coarse.
    """
    quiet = (high - low) < SMALLEST_SCALE
    if quiet.all() or not quiet.any():
        return scale
    return np.where(quiet, scale[~quiet].max(), scale).astype(np.float32)


def _best_factor(
    rows: Rows, low: NDArray[np.float64], high: NDArray[np.float64], spec: QuantSpec
) -> NDArray[np.float64]:
    """For each channel the factor on its range with the least squared error; float64 [C].

    Factors from 1 in steps of 0.1 down to 0.3, then around the best in steps of 0.05, 0.025 and
    0.0125; 1 is among them, so min-max is never better. Where pairs are limited, factors up to 2
    too: with 2 no pair exceeds the limit. Of a channel that two steps down in a row make worse, no
    further ones are tried: what is clipped makes more and more noise.
    """
    best = np.ones(len(rows))
    least = _squared_error(rows, low, high, spec)
    widest = 2.0 if knows_pairs(spec) else 1.0

    def attempt(some: slice | NDArray[np.int64], trial: NDArray[np.float64]) -> NDArray[np.bool_]:
        error = _squared_error(rows[some], low[some] * trial, high[some] * trial, spec)
        better = error < least[some]
        best[some] = np.where(better, trial, best[some])
        least[some] = np.where(better, error, least[some])
        return better

    for factor in np.arange(widest, 1.05, -0.1):
        attempt(slice(None), np.full(len(rows), factor))
    left, worse = np.arange(len(rows)), np.zeros(len(rows), np.int64)
    for factor in np.arange(0.9, 0.29, -0.1):
        better = attempt(left, np.full(left.size, factor))
        worse = np.where(better, 0, worse + 1)
        left, worse = left[worse < 2], worse[worse < 2]
        if not left.size:
            break
    for width in (0.05, 0.025, 0.0125):
        around = best.copy()
        for move in (-width, width):
            attempt(slice(None), np.clip(around + move, 0.05, widest))
    return best


def _best_power_of_two(
    rows: Rows, low: NDArray[np.float64], high: NDArray[np.float64], spec: QuantSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each channel what the codes cover at the power of two of least squared error; [C] each.

    Tried are the smallest power of two that clips nothing, and its halves.
    """
    widest, _ = affine(low, high, spec)
    (qmin, qmax), zero = codes_in_use(spec), symmetric_zero(spec)
    halvings = np.arange(OCTAVES + 1, dtype=np.float64)
    scales = widest.astype(np.float64) * np.exp2(-halvings)[:, None]
    errors = [_squared_error(rows, (qmin - zero) * s, (qmax - zero) * s, spec) for s in scales]
    best = np.argmin(np.stack(errors), axis=0)
    scale = np.take_along_axis(scales, best[None], axis=0)[0]
    # a channel without extent keeps none: it takes the scale of the others
    alive = (high - low) >= SMALLEST_SCALE
    return (
        np.where(alive, (qmin - zero) * scale, low),
        np.where(alive, (qmax - zero) * scale, high),
    )


def _half_quadratic(
    rows: Rows, scale: NDArray[np.float32], zero: NDArray[np.int64], spec: QuantSpec
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """*scale* and *zero* made better by half-quadratic splitting."""
    if spec.scale is not ScaleRule.ANY or spec.dtype.floating:
        raise OptionError("method 'hqq' is for integers with scales of any value", hint="mse")
    found, moved = half_quadratic(
        rows,
        scale.astype(np.float64),
        zero.astype(np.float64),
        codes_in_use(spec),
        symmetric=spec.symmetric,
    )
    return found.astype(np.float32), moved.astype(np.int64)


def _squared_error(
    rows: Rows, low: NDArray[np.float64], high: NDArray[np.float64], spec: QuantSpec
) -> NDArray[np.float64]:
    """Σ (x̂ − x)² of each channel, float64 [C]."""
    scale, zero = affine(low, high, spec)
    qmin, qmax = codes_in_use(spec)
    s, z = scale[:, None], zero[:, None].astype(np.float32)
    codes = nearest_codes(rows / s, qmin - z, qmax - z, spec.dtype)
    if knows_pairs(spec):
        codes = relieve_pairs(codes, spec.pair_sum_limit or 0)
    codes *= s
    codes -= rows
    return np.asarray(np.einsum("ck,ck->c", codes, codes), np.float64)
