"""How reals become integers, in every mode that targets use.

Modes other than nearest-even differ only on ties (``half-…``) or always (floor, ceil, toward
zero). Shifting fixed-point hardware rounds half up; CMSIS and many DSPs half away; QuantizeLinear
of ONNX half to even.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.qparams import QParams
from onnxq.quant.spec import Rounding

Floats = NDArray[np.floating[Any]]


def _half_up(x: Floats) -> Floats:
    # not floor(x + 0.5): that sum rounds up numbers just below a tie
    below = np.floor(x)
    return np.asarray(below + (x - below >= 0.5))


def _half_down(x: Floats) -> Floats:
    return -_half_up(-x)


def _half_away(x: Floats) -> Floats:
    return np.copysign(_half_up(np.abs(x)), x)


_MODES: dict[Rounding, Callable[[Floats], Floats]] = {
    Rounding.NEAREST_EVEN: np.rint,
    Rounding.HALF_UP: _half_up,
    Rounding.HALF_DOWN: _half_down,
    Rounding.HALF_AWAY: _half_away,
    Rounding.FLOOR: np.floor,
    Rounding.CEIL: np.ceil,
    Rounding.TOWARD_ZERO: np.trunc,
}


def round_to_integer(x: Floats, mode: Rounding = Rounding.NEAREST_EVEN) -> Floats:
    """*x* (any shape) rounded to whole numbers, still as floats."""
    return np.asarray(_MODES[mode](x), x.dtype)


def quantize(x: NDArray[Any], qparams: QParams, mode: Rounding) -> NDArray[Any]:
    """Codes of *x* under *qparams* with rounding *mode*, in the format's numpy dtype.

    With ``Rounding.NEAREST_EVEN`` this is ``qparams.quantize(x)``.
    """
    if mode is Rounding.NEAREST_EVEN:
        return qparams.quantize(x)
    scale, zero = qparams.along(x.ndim)
    codes = round_to_integer(x.astype(np.float32) / scale, mode).astype(np.float64) + zero
    return np.asarray(np.clip(codes, qparams.qmin, qparams.qmax)).astype(qparams.dtype.numpy)
