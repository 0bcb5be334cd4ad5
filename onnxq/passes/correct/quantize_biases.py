"""quantize-biases: 32-bit integers for biases, at the scale of the accumulator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model, constant_value
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import INT32, Derived, QParams, QuantSpec, ScaleRule
from onnxq.quant.affine import SMALLEST_SCALE, ceil_power_of_two
from onnxq.quant.choose import weight_codes
from onnxq.targets import Arithmetic

_LIMIT = float(2**31 - 1)
_FINE = float(2**22)
"""Steps that a bias has at least in a channel whose weights are all 0."""


@dataclass(frozen=True, kw_only=True)
class QuantizeBiases(Pass):
    """Round every planned bias to int32 at the scale ``s_b = s_x · s_w``.

    What it does
        ``q_b = round(b / (s_x · s_w))``, per output channel where the weight is. Where ``q_b``
        would not fit into 32 bits, the channel's weight scale is raised until it does, and its
        weights are rounded again. Where all weights of a channel are 0, any scale is exact for
        them: one is taken that is fine enough for the bias. Scales that have to be powers of two
        stay so. Where the target stores narrower biases, the lowest bits of ``q_b`` are 0, as many
        as it takes: it is a narrow integer, shifted to the left.

    Why
        The accumulator of an integer kernel holds ``Σ q_x · q_w`` in units of ``s_x · s_w``: a
        bias in the same units is added exactly.

    Example
        ``quantize-biases``

    When it declines
        Never. A raised weight scale is noted among the warnings.

    Numerics
        Error of a bias: at most ``s_x · s_w / 2``.

    Source
        Jacob et al. 2018, section 2.4.
    """

    name: ClassVar[str] = "quantize-biases"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        tensors = model.tensors()
        for name, planned in list(ctx.plan.tensors.items()):
            if not isinstance(planned, Derived):
                continue
            bias = ctx.biases.get(name, constant_value(tensors[name]))
            assert bias is not None, name
            x, w = planned.from_
            weight = constant_value(tensors[w])
            assert weight is not None, w
            s_x, s_w = float(ctx.qparams[x].scale), ctx.qparams[w].scale.astype(np.float64)
            flat = bias.reshape(-1).astype(np.float64)
            # groups of a ConvTranspose share the scales of their channels
            groups = max(1, flat.size // s_w.size) if s_w.ndim else 1
            most = np.abs(flat).reshape(groups, -1).max(axis=0, initial=0.0)
            s_w = self._dead(ctx, w, s_x, s_w, most)
            need = most / (_LIMIT * 0.999 * s_x)
            if s_w.ndim == 0:
                need = need.max(initial=0.0)
            if np.any(need > s_w):
                raised = np.maximum(s_w, need)
                if _by_shifts(ctx, w):
                    raised = ceil_power_of_two(raised)
                raised = raised.astype(np.float32)
                ctx.qparams[w] = replace(ctx.qparams[w], scale=raised)
                spec = ctx.plan.tensors[w]
                if isinstance(spec, QuantSpec):
                    ctx.integers[w] = weight_codes(weight, ctx.qparams[w], spec)
                else:
                    ctx.integers[w] = ctx.qparams[w].quantize(weight)
                count = int(np.sum(need > s_w))
                ctx.journal.warn(
                    f"bias '{name}' would overflow 32 bits: the weight scale of {count} "
                    f"channel{'s' * (count != 1)} of '{w}' was raised"
                )
                s_w = raised.astype(np.float64)
            scale = (np.float32(s_x) * s_w.astype(np.float32)).astype(np.float32)
            scale = np.tile(scale, groups) if scale.ndim else scale
            codes = np.rint(flat / scale.astype(np.float64))
            ctx.qparams[name] = QParams(
                scale=scale,
                zero_point=np.zeros(scale.shape, np.int64),
                dtype=INT32,
                axis=0 if scale.ndim else None,
            )
            codes = np.clip(codes, -_LIMIT, _LIMIT)
            if ctx.target.integer is not None:
                codes = _narrowed(name, codes, ctx.target.integer, ctx)
            ctx.integers[name] = codes.astype(np.int32)

    def _dead(
        self, ctx: Context, w: str, s_x: float, s_w: NDArray[np.float64], bias: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Weight scales, made fine enough for the bias where all codes of a channel are 0."""
        qparams, codes = ctx.qparams[w], np.asarray(ctx.integers[w], np.int64)
        if qparams.axis is None:
            alive, largest = np.any(codes != qparams.zero_point), bias.max(initial=0.0)
        else:
            rows = np.moveaxis(codes, qparams.axis, 0).reshape(len(s_w), -1)
            alive = np.any(rows != qparams.zero_point[:, None], axis=1)
            largest = bias
        if _by_shifts(ctx, w) or ctx.plan.one_scale:
            return s_w  # a bias is as exact there as in other channels, and shifts stay as they are
        dead = np.logical_not(alive)
        fine = np.where(dead & (largest > 0), largest / (s_x * _FINE), s_w)
        fine = np.maximum(fine, SMALLEST_SCALE)
        if np.any(fine < s_w):
            ctx.qparams[w] = replace(qparams, scale=np.minimum(s_w, fine).astype(np.float32))
        return ctx.qparams[w].scale.astype(np.float64)


def _by_shifts(ctx: Context, weight: str) -> bool:
    """Whether the scales of *weight* have to be powers of two."""
    spec = ctx.plan.tensors.get(weight)
    return isinstance(spec, QuantSpec) and spec.scale is ScaleRule.POWER_OF_TWO


def _narrowed(
    name: str, codes: NDArray[np.float64], arithmetic: Arithmetic, ctx: Context
) -> NDArray[np.float64]:
    """*codes* as integers of ``bias_bits`` that are shifted to the left, all alike.

    Raises:
        UnsupportedModelError: the shift is larger than the hardware's.
    """
    largest = float(2 ** (arithmetic.bias_bits - 1) - 1)
    shift = 0
    while np.abs(np.rint(codes / 2.0**shift)).max(initial=0.0) > largest:
        shift += 1
    if shift > arithmetic.bias_shift:
        raise UnsupportedModelError(
            f"bias '{name}' would be shifted to the left by {shift} bits",
            why=f"{ctx.target.name} shifts biases of {arithmetic.bias_bits} bits by at most "
            f"{arithmetic.bias_shift}",
            hint="--bias-bits 16 or 32, where the hardware has them",
        )
    return np.asarray(np.rint(codes / 2.0**shift) * 2.0**shift)
