"""store-float16: what stays in floating point is stored in half the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model, constant_value, consumers
from onnxq.passes.emit._widened import Widener, excluded_exactly
from onnxq.pipeline import Context, Pass, Stage

_HALF = float(np.finfo(np.float16).max)
_CODES = ("QuantizeLinear", "DequantizeLinear")
_LOSS = 2.0**-10
"""Noise over signal, as a ratio of norms, beyond which a constant is too small for float16."""


@dataclass(frozen=True, kw_only=True)
class StoreFloat16(Pass):
    """Store constants that stay in float as float16, and widen them when the model is loaded.

    What it does
        Every float32 constant of ``least`` values or more that operators of ONNX read becomes
        float16, with a Cast to float32 behind it. What DequantizeLinear reads stays as it is.

    Why
        Layers that stay in float (excluded, or with no integer kernel), tables and biases are
        then half as large. ONNX Runtime computes such a Cast once, when it loads the model: the
        layers run as fast as before. It has next to no float16 kernels for the CPU; a model that
        computed in float16 would be slower there, or not run.

    Example
        ``y = MatMul(x, w)``  becomes  ``v = Cast<to = FLOAT>(w16)  y = MatMul(x, v)``.

    When it declines
        Constants with values beyond 65,504, or so small that float16 loses their digits; those
        that both a graph and a sub-graph read; those of operators of other domains.

    Numerics
        float16 has 11 significant bits: noise is at most 2⁻¹¹ of each value.

    Source
        IEEE 754 binary16; that ONNX Runtime folds the Cast was seen on optimized graphs.

    Attributes:
        least: smaller constants stay as they are.
        excluded: whether those of excluded nodes are stored so, too.
    """

    name: ClassVar[str] = "store-float16"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = 2e-2

    least: int = 64
    excluded: bool = True

    def run(self, model: Model, ctx: Context) -> None:
        widener = Widener(model)
        left = frozenset() if self.excluded else excluded_exactly(ctx)
        for tensor in widener.constants(left):
            if tensor.dtype != np.float32 or int(np.prod(tensor.shape)) < self.least:
                continue
            if any(node.op in _CODES for node, _ in consumers(tensor)):
                continue
            value = constant_value(tensor)
            assert value is not None, tensor.name
            reason = widener.cannot(tensor) or _why_not(value)
            if reason:
                ctx.decline(tensor.name, reason)
            else:
                widener.store(tensor, value.astype(np.float16), "half")


def _why_not(value: NDArray[np.float32]) -> str:
    """Why float16 cannot hold *value*; empty where it can."""
    largest = float(np.abs(value).max())
    if not largest <= _HALF:
        return f"a value of {largest:.3g} is beyond float16"
    loss = np.linalg.norm(value.astype(np.float16).astype(np.float32) - value)
    if loss > _LOSS * np.linalg.norm(value):
        return f"values of up to {largest:.3g} lose digits in float16"
    return ""
