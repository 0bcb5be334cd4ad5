"""Exponents of power-of-two scales, and what nodes of a plan read and write."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import OptionError
from onnxq.graph import Model
from onnxq.pipeline.context import Context
from onnxq.quant import QParams

Exponents = NDArray[np.int64]


def exponents(name: str, q: QParams, *, centred: bool = True) -> Exponents:
    """The exponents e of the scales 2ᵉ of the tensor *name*, int64 [] or [channels].

    Raises:
        OptionError: a scale is no power of two, or, where *centred*, a zero point is not 0.
    """
    mantissa, exponent = np.frexp(q.scale)
    if not (mantissa == 0.5).all():
        worst = q.scale.reshape(-1)[np.argmax((mantissa != 0.5).reshape(-1))]
        raise OptionError(
            f"'{name}': the scale {worst:g} is no power of two, which the target asks for",
            hint="a range whose ends are ±2ᵏ, or no range of your own (--overrides)",
        )
    if centred and q.zero_point.any():
        raise OptionError(
            f"'{name}': its zero point is not 0, which the target asks for",
            hint="symmetric codes: symmetric = true in --overrides",
        )
    return np.asarray(exponent, np.int64) - 1


def result(node: gs.Node, ctx: Context) -> str:
    """Name of the tensor that is rounded behind the planned *node*, absorbed activations passed."""
    planned, tensor = ctx.plan.nodes[node.name], node.outputs[0]
    for _ in planned.absorbs:
        tensor = tensor.outputs[0].outputs[0]
    return str(tensor.name)


def planned_nodes(model: Model, ctx: Context) -> list[gs.Node]:
    """The nodes that run on integers, in the order in which they run."""
    model.sort()
    return [node for node in model.graph.nodes if node.name in ctx.plan.nodes]
