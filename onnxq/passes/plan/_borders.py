"""Where floats and integers meet: whether channels can have factors of their own there."""

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


def may_scale(ctx: Context) -> bool:
    """Whether there are samples to run, on ONNX Runtime's kernels, and no grids from training."""
    if not ctx.target.rounds_float_weights or ctx.trained.activations or ctx.trained.weights:
        return False
    return ctx.measure is not None and not (ctx.estimated or ctx.statistics_only)
