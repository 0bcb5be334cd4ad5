"""PRelu and Softmax: activations that need more than one table of codes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import attribute, constant_value
from onnxq.integer.kinds import PRelu, Softmax
from onnxq.integer.pending import Pending
from onnxq.integer.refuse import refused
from onnxq.integer.sources import Sources

#: What stands for 1: for slopes, and for the largest exponential and the sum of probabilities.
SLOPE, ONE = 14, 15


def prelu(at: Sources, node: gs.Node) -> list[Pending]:
    """x, below 0 times a slope: one, or one for each channel."""
    x, tensor = at.value(node.inputs[0], node), node.inputs[1]
    slope, known = constant_value(tensor), at.weights.get(tensor.name)
    if known is not None:
        slope = known.codes * np.reshape(known.scales, [-1 if known.axis == i else 1 for i in
                                         range(known.codes.ndim)])  # fmt: skip
    if slope is None:
        raise refused(node, "its slopes are computed while the model runs")
    full = (1,) * (len(x.shape) - slope.ndim) + slope.shape
    if slope.size > 1 and (len(full) != len(x.shape) or full[1] != slope.size):
        raise refused(node, f"its slopes have the shape {list(slope.shape)}, not one a channel",
                      "one slope for each channel, or a single one")  # fmt: skip
    widest = max(abs(v - x.zero_point) for v in (x.low, x.high))
    if not np.abs(slope).max() * widest < 1 << (30 - SLOPE):
        raise refused(node, f"its slope {float(np.abs(slope).max()):g} is too large for 32 bits",
                      "--activations int8, or --exclude this node")  # fmt: skip
    below = np.rint(slope.reshape(-1).astype(np.float64) * (1 << SLOPE)).astype(np.int64)
    kind = PRelu(1 << SLOPE, below, x.zero_point)
    return [Pending(node, kind, (x.name,), (x.scale * 2.0**-SLOPE,), x.shape)]


def softmax(at: Sources, node: gs.Node) -> list[Pending]:
    """Exponentials of differences from the largest code, by table, divided by their sum."""
    x = at.value(node.inputs[0], node)
    axis = int(attribute(node, "axis", -1 if at.graph.opset >= 13 else 1)) % len(x.shape)
    if axis == 0 or (at.graph.opset < 13 and axis != len(x.shape) - 1):
        raise refused(node, f"it runs along axis {axis} of {list(x.shape)}, in opset "
                      f"{at.graph.opset}", "the axis of classes, and opset 13")  # fmt: skip
    if x.dtype not in ("int8", "uint8"):
        raise refused(node, f"its input is {x.dtype}; tables have 256 entries",
                      "quantize its input to 8 bits")  # fmt: skip
    exponentials = np.rint((1 << ONE) * np.exp(-x.scale * np.arange(256))).astype(np.int64)
    kind = Softmax(exponentials, 1 << ONE, axis)
    return [Pending(node, kind, (x.name,), (2.0**-ONE,), x.shape)]


LOWERED: dict[str, Callable[[Sources, gs.Node], list[Pending]]] = {
    "PRelu": prelu, "Softmax": softmax,
}  # fmt: skip
