"""How much of an error in each channel of a tensor arrives behind the layers that read it.

A layer with weights w turns independent errors of variance v_c in its input channels into an error
of variance ``Σ_c g_c v_c`` with ``g_c = Σ w²`` over outputs and window. Activations, pooling and
sums hand errors on; a depthwise layer multiplies by its own Σ w² and hands on.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute, constant_value, consumers

_ON = ("Relu", "LeakyRelu", "PRelu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool",
       "GlobalMaxPool", "Add", "Identity", "Resize", "Pad", "Mul")  # fmt: skip
_GATES = ("Sigmoid", "HardSigmoid")
_DEPTH = 6
"""How many operators an error is followed through."""


def reading_gains(tensor: gs.Tensor, channels: int) -> NDArray[np.float64] | None:
    """The g of each channel (axis 1) of *tensor*, [channels]; None where nothing tells."""
    return _gains(tensor, channels, _DEPTH)


def _gains(tensor: gs.Tensor, channels: int, depth: int) -> NDArray[np.float64] | None:
    total: NDArray[np.float64] | None = None
    for user, index in consumers(tensor):
        found = _read(user, index, channels, depth)
        if found is not None:
            total = found if total is None else total + found
    return total


def _read(node: gs.Node, index: int, channels: int, depth: int) -> NDArray[np.float64] | None:
    """What *node* makes of errors in its input *index*."""
    if node.op in ("Conv", "Gemm", "MatMul") and index == 0:
        weight = constant_value(node.inputs[1])
        return None if weight is None else _weights(node, weight, channels, depth)
    if node.op in _ON and depth:
        if node.op == "Mul" and all(n.op in _GATES for n, _ in consumers(node.outputs[0])):
            return None  # in front of a gate, which only follows its sign
        return _gains(node.outputs[0], channels, depth - 1)
    return None


def _weights(
    node: gs.Node, weight: NDArray[np.generic], channels: int, depth: int
) -> NDArray[np.float64] | None:
    power = np.square(np.asarray(weight, np.float64))
    if node.op != "Conv":
        if power.ndim != 2:
            return None
        axis = 1 if node.op == "Gemm" and attribute(node, "transB", 0) else 0
        return power.sum(1 - axis) if power.shape[axis] == channels else None
    groups = int(attribute(node, "group", 1))
    rows = power.reshape(*power.shape[:2], -1).sum(axis=2)
    if rows.shape[1] * groups != channels:
        return None
    if groups == channels == len(rows):
        after = _gains(node.outputs[0], channels, depth - 1) if depth else None
        return np.asarray(rows[:, 0] if after is None else rows[:, 0] * after)
    return np.asarray(rows.reshape(groups, -1, rows.shape[1]).sum(axis=1).reshape(-1))
