"""Whether samples say enough of a channel for a factor of its own."""

from __future__ import annotations

from math import prod

import onnx_graphsurgeon as gs

from onnxq.pipeline import Context

LEAST_VALUES = 256
"""Values of a channel; the range of a few dozen is not that of the next ones."""


def values_of(tensor: gs.Tensor, axis: int, ctx: Context) -> int:
    """How many values each channel, along *axis*, of *tensor* has in a sample; 0: not known."""
    shape = [d or 0 for d in ctx.shape(tensor) or ()]
    return prod(shape) // shape[axis] if all(shape) and shape else 0
