"""Products with a factor for each channel, as equalization leaves them."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import constant_value, is_constant


def channel_factor(product: gs.Node) -> tuple[int, NDArray[np.generic]] | None:
    """Which input of *product*, a Mul, varies, and the positive constant [1, C, 1, …] of the other.

    None where there is no such constant.
    """
    for index in (0, 1):
        value = constant_value(product.inputs[1 - index])
        if value is None or is_constant(product.inputs[index]) or value.ndim < 2:
            continue
        if value.size == value.shape[1] and (value > 0).all():
            return index, value
    return None
