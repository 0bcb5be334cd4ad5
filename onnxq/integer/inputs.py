"""Real inputs as codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.integer.program import Codes, Value


def encode(value: Value, x: NDArray[Any]) -> Codes:
    """Codes of the real numbers *x* for *value*, as QuantizeLinear of ONNX makes them.

    That operator rounds ties to even, whatever the steps of the program do: it is applied outside
    of it. Whole numbers pass unchanged where the model's own input is an integer.
    """
    if x.dtype.kind in "iu":
        return np.asarray(x, value.dtype)
    steps = np.rint(x.astype(np.float32) / np.float32(value.scale)).astype(np.float64)
    codes = np.clip(steps + value.zero_point, value.low, value.high)
    return np.asarray(codes, np.float64).astype(value.dtype)


def decode(value: Value, codes: NDArray[Any]) -> NDArray[np.float32]:
    """The real numbers, float32, that *codes* of *value* stand for."""
    steps = (codes.astype(np.int64) - value.zero_point).astype(np.float32)
    return np.asarray(steps * np.float32(value.scale), np.float32)
