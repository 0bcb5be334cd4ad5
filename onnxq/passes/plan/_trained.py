"""Trained grids in the formats that a target has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.pipeline.trained import TrainedGrid, TrainedWeight
from onnxq.quant import PerAxis, QParams, QuantSpec, ScaleRule
from onnxq.quant.affine import symmetric_zero

_OFF = 0.02
"""How far a weight may lie from its code, in steps: what float32 loses when factors are folded."""


def activation_qparams(
    grid: TrainedGrid, spec: QuantSpec, limits: tuple[float, float] | None
) -> QParams | str:
    """*grid* in the format of *spec*: the same real values, codes shifted; or why it has none.

    Where an activation that clamps to *limits* is to be absorbed, codes are narrowed to what it
    lets pass: ``round(min(x, 6) / s) = min(round(x / s), round(6 / s))``.
    """
    if spec.scale is ScaleRule.POWER_OF_TWO and np.frexp(grid.scale)[0] != 0.5:
        return f"its scale of {grid.scale:.6g} is no power of two"
    low, high, zero = grid.low, grid.high, grid.zero_point
    if limits is not None:
        ends = np.rint(np.clip(limits, -1e9, 1e9) / np.float64(grid.scale)) + zero
        low, high = max(low, int(ends[0])), min(high, int(ends[1]))
    first, last = spec.dtype.qmin, spec.dtype.qmax
    shifts = [symmetric_zero(spec) - zero] if spec.symmetric else [0, 128, -128, first - low]
    for shift in shifts:
        if first <= low + shift and high + shift <= last and first <= zero + shift <= last:
            codes = (low + shift, high + shift)
            return QParams(
                np.asarray(grid.scale, np.float32), np.asarray(zero + shift, np.int64), spec.dtype,
                codes=None if codes == (first, last) else codes,
            )  # fmt: skip
    steps = f"{low - zero} … {high - zero}"
    if spec.symmetric:
        return f"steps of {steps} are not in {spec.dtype} with the zero point {zero + shifts[0]}"
    return f"codes of {low} … {high} with the zero point {zero} are not in {spec.dtype}"


def weight_qparams(
    value: NDArray[Any], weight: TrainedWeight, spec: QuantSpec
) -> tuple[QParams, NDArray[np.int64]] | str:
    """Scales with which *value* has the codes of *weight* again, and those codes; or why not.

    *value* is the weight behind all fusions, perhaps transposed. What they multiplied each channel
    by goes into its scale, a sign into its codes, which are [channels, values of each].
    """
    if spec.scale is ScaleRule.POWER_OF_TWO and not (np.frexp(weight.scale)[0] == 0.5).all():
        return "its scales are no powers of two"
    found = f"its shape is {list(value.shape)} now, not {list(weight.steps.shape)}"
    for steps, scale in ((weight.steps, weight.scale), (weight.steps.T, weight.scale.T)):
        if value.shape == steps.shape:
            tried = _oriented(value, steps, scale, spec)
            if not isinstance(tried, str):
                return tried
            found = tried if found.startswith("its shape") else found
        if value.ndim != 2:
            break
    return found


def _oriented(
    value: NDArray[Any], steps: NDArray[Any], scale: NDArray[np.float64], spec: QuantSpec
) -> tuple[QParams, NDArray[np.int64]] | str:
    """The same for codes that lie as *value* does."""
    axis = spec.granularity.axis % value.ndim if isinstance(spec.granularity, PerAxis) else None
    rows, known, real = (_rows(a, axis) for a in (steps, scale, value.astype(np.float64)))
    at = np.abs(rows).argmax(axis=1)
    every = np.arange(len(rows))
    top, now, own = rows[every, at], real[every, at], known[every, at]
    factor = np.where(top == 0, 1.0, now / np.where(top == 0, 1, top * own))
    if (factor == 0).any():  # a batch-norm that closes a channel
        rows = np.where((factor == 0)[:, None], 0, rows)
        factor = np.where(factor == 0, 1.0, factor)
    found = np.where(np.abs(np.abs(factor) - 1) < 1e-6, own, own * np.abs(factor))
    rows = rows * np.sign(factor).astype(np.int64)[:, None]
    if (np.abs(real / found[:, None] - rows) > _OFF).any():
        return "it is no multiple of the trained one for each channel of its outputs"
    if spec.scale is ScaleRule.POWER_OF_TWO and not (np.frexp(found)[0] == 0.5).all():
        return "the batch-norm folded into it leaves scales that are no powers of two"
    zero = symmetric_zero(spec)
    if not spec.symmetric and rows.min(initial=0) >= 0:  # an operand without negative values
        zero = spec.dtype.qmin
    codes = rows + zero
    beyond = max(spec.dtype.qmin - int(codes.min()), int(codes.max()) - spec.dtype.qmax)
    if beyond > 1:
        return (
            f"its steps of {int(rows.min())} … {int(rows.max())} are not in {spec.dtype} with "
            f"the zero point {zero}"
        )
    shape = () if axis is None else (len(rows),)
    qparams = QParams(
        found.astype(np.float32).reshape(shape), np.full(shape, zero, np.int64), spec.dtype, axis
    )
    return qparams, codes


def _rows(array: NDArray[Any], axis: int | None) -> NDArray[Any]:
    if axis is None:
        return array.reshape(1, -1)
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
