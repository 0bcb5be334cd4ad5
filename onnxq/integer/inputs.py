"""Real inputs as codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.integer.program import Codes, Value


def encode(value: Value, x: NDArray[Any]) -> Codes:
    """Codes of the real numbers *x* for the input *value*, as QuantizeLinear of ONNX makes them.

    That operator rounds ties to even, whatever the steps of the program do: it is applied outside
    of it. Whole numbers pass unchanged where the model's own input is an integer.
    """
    if x.dtype.kind in "iu":
        return np.asarray(x, value.dtype)
    scaled = np.rint(np.ldexp(x.astype(np.float64), -value.exponent))
    return np.clip(scaled, value.low, value.high).astype(value.dtype)
