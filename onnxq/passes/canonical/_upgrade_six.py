"""What opset 7 changed of opset 6: broadcasting by rule instead of by attribute, no training flags.

Adapters as in ``_upgrade``.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import constant_value
from onnxq.passes._scope import Scope
from onnxq.pipeline import Context

BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Less", "Greater")


def _rank(scope: Scope, tensor: gs.Tensor, ctx: Context) -> int | None:
    shape = scope.stated.shape(tensor)
    return ctx.rank(tensor) if shape is None else len(shape)


def _stretch(scope: Scope, node: gs.Node, axis: int, rank: int | None) -> str:
    """Give the constant second operand ones behind, so that it begins at *axis* of *rank*."""
    value = constant_value(node.inputs[1])
    if value is None or rank is None:
        what = "it is computed" if value is None else "the rank is not known"
        return f"'{node.inputs[1].name}' is laid along axis {axis}, and {what}"
    behind = rank - axis % rank - value.ndim
    if behind > 0:
        scope.set_constant(node, 1, value.reshape(*value.shape, *[1] * behind))
    return ""


def binary(scope: Scope, node: gs.Node, ctx: Context) -> str:
    """``broadcast = 1`` laid the second operand along the axes from ``axis`` on."""
    node.attrs.pop("broadcast", None)
    axis = node.attrs.pop("axis", None)
    if axis is None:
        return ""
    return _stretch(scope, node, int(axis), _rank(scope, node.inputs[0], ctx))


def prelu(scope: Scope, node: gs.Node, ctx: Context) -> str:
    """A vector of slopes was laid along axis 1, the channels."""
    value = constant_value(node.inputs[1])
    if value is not None and (value.ndim != 1 or value.size == 1):
        return ""
    return _stretch(scope, node, 1, _rank(scope, node.inputs[0], ctx))


def untrained(scope: Scope, node: gs.Node, ctx: Context) -> str:
    """``is_test = 1`` said that the node is not in training, which opset 7 takes for granted."""
    if not node.attrs.pop("is_test", 0):
        return "it is in training mode"
    node.attrs.pop("consumed_inputs", None)
    return ""


def gemm(scope: Scope, node: gs.Node, ctx: Context) -> str:
    """The bias had to be broadcast explicitly."""
    node.attrs.pop("broadcast", None)
    return ""


ADAPTERS = {
    **{(op, 7): binary for op in BINARY},
    ("PRelu", 7): prelu, ("Dropout", 7): untrained, ("BatchNormalization", 7): untrained,
    ("Gemm", 7): gemm,
}  # fmt: skip
"""By operator and opset, the adapter."""


def misread(node: gs.Node) -> bool:
    """Whether ONNX's version converter would leave *node* of opset 6 with another meaning."""
    value = constant_value(node.inputs[1]) if node.op == "PRelu" else np.zeros(())
    return value is None or (value.ndim == 1 and value.size > 1)
