"""BatchNormalization at inference, as a factor and a shift for each channel."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute, constant_value


def affine(node: gs.Node) -> tuple[NDArray[np.float64], NDArray[np.float64]] | str:
    """``a`` and ``b`` [channels] of ``y = a·x + b``, or the reason why there are none."""
    if attribute(node, "training_mode", 0) or any(t.name for t in node.outputs[1:]):
        return "it is in training mode; try to export the model for inference"
    if not attribute(node, "spatial", 1):
        return "it normalizes each position by itself (spatial=0)"
    values = [constant_value(t) for t in node.inputs[1:5]]
    names = ("scale", "bias", "mean", "variance")
    for name, value in zip(names, values, strict=True):
        if value is None:
            return f"its {name} is computed; try 'fold-constants' first"
    scale, bias, mean, variance = (np.asarray(v, dtype=np.float64).reshape(-1) for v in values)
    spread = variance + float(attribute(node, "epsilon", 1e-5))
    if not (spread > 0).all():
        return "its variance plus epsilon is not positive"
    factor = scale / np.sqrt(spread)
    return factor, bias - mean * factor
