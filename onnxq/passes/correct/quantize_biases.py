"""quantize-biases: 32-bit integers for biases, at the scale of the accumulator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model, constant_value
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import INT32, Derived, QParams, QuantSpec
from onnxq.quant.choose import weight_codes

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
        them: one is taken that is fine enough for the bias.

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
            s_w = self._dead(ctx, w, s_x, s_w, flat)
            need = np.abs(flat) / (_LIMIT * 0.999 * s_x)
            if s_w.ndim == 0:
                need = need.max(initial=0.0)
            if np.any(need > s_w):
                raised = np.maximum(s_w, need).astype(np.float32)
                ctx.qparams[w] = replace(ctx.qparams[w], scale=raised)
                spec = ctx.plan.tensors[w]
                if isinstance(spec, QuantSpec):
                    ctx.integers[w] = weight_codes(weight, ctx.qparams[w], spec)
                else:
                    ctx.integers[w] = ctx.qparams[w].quantize(weight)
                ctx.journal.warn(
                    f"bias '{name}' would overflow 32 bits: the weight scale of "
                    f"{int(np.sum(need > s_w))} channels of '{w}' was raised"
                )
                s_w = raised.astype(np.float64)
            scale = (np.float32(s_x) * s_w.astype(np.float32)).astype(np.float32)
            codes = np.rint(flat / scale.astype(np.float64))
            ctx.qparams[name] = QParams(
                scale=scale,
                zero_point=np.zeros(scale.shape, np.int64),
                dtype=INT32,
                axis=0 if scale.ndim else None,
            )
            ctx.integers[name] = np.clip(codes, -_LIMIT, _LIMIT).astype(np.int32)

    def _dead(
        self, ctx: Context, w: str, s_x: float, s_w: NDArray[np.float64], bias: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Weight scales, made fine enough for the bias where all codes of a channel are 0."""
        qparams, codes = ctx.qparams[w], np.asarray(ctx.integers[w], np.int64)
        if qparams.axis is None:
            alive, largest = np.any(codes != qparams.zero_point), np.abs(bias).max(initial=0.0)
        else:
            rows = np.moveaxis(codes, qparams.axis, 0).reshape(len(s_w), -1)
            alive = np.any(rows != qparams.zero_point[:, None], axis=1)
            largest = np.abs(bias)
        dead = np.logical_not(alive)
        fine = np.where(dead & (largest > 0), largest / (s_x * _FINE), s_w)
        if np.any(fine < s_w):
            ctx.qparams[w] = replace(qparams, scale=np.minimum(s_w, fine).astype(np.float32))
        return ctx.qparams[w].scale.astype(np.float64)
