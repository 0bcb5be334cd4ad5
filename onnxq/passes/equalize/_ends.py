"""Where factors of channels begin, and where they end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute, constant_value

Ids = NDArray[np.int64]
"""Variables, one for each channel of a tensor."""
Array = NDArray[np.float64]

CONVOLUTIONS = ("Conv", "ConvTranspose")
LINEAR = (*CONVOLUTIONS, "Gemm", "MatMul")
NORMS = ("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization")


@dataclass(frozen=True, eq=False)
class Source:
    """A node whose output channels can be scaled by scaling what is stored with it.

    Attributes:
        node: a layer with stored weights, a normalization with a gain, or a Mul with a constant.
        tensor: what carries the variables: its output, or that of the SiLU behind it.
        ids: the variables, int64 [channels].
        sigmoid, gate: the two nodes of the SiLU; None where there is none.
    """

    node: gs.Node
    tensor: gs.Tensor
    ids: Ids
    sigmoid: gs.Node | None = None
    gate: gs.Node | None = None

    def spread(self, index: int, factors: Array) -> Array:
        """*factors* [channels], shaped to multiply the stored input *index*."""
        if index != 1 or self.node.op not in LINEAR:
            return factors  # a bias, a gain: channels are its last axis
        return spread_outputs(self.node, factors)

    @property
    def stored(self) -> tuple[int, ...]:
        """Indices of the inputs that are scaled, those that are given."""
        if self.node.op == "Mul":
            return (next(i for i in (0, 1) if constant_value(self.node.inputs[i]) is not None),)
        return (1, 2) if len(self.node.inputs) > 2 and self.node.inputs[2].name else (1,)


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer whose weights can take factors back.

    Attributes:
        node: the layer.
        ids: the variables of its input channels, int64 [channels].
    """

    node: gs.Node
    ids: Ids

    @property
    def groups(self) -> int:
        """Into how many groups it divides its channels."""
        return groups_of(self.node)

    @property
    def depthwise(self) -> bool:
        """Whether each output channel reads one input channel, so that factors cost nothing."""
        return self.groups > 1 and self.groups == self.ids.size

    def magnitude(self) -> Array:
        """Largest |weight| that reads each input channel, [channels]."""
        rows = np.abs(rows_of(self.node)).max(axis=2)
        return np.asarray(rows.reshape(self.groups, -1, rows.shape[1]).max(axis=1).reshape(-1))


def groups_of(node: gs.Node) -> int:
    """Into how many groups *node*, a linear layer, divides its channels."""
    return int(attribute(node, "group", 1)) if node.op in CONVOLUTIONS else 1


def rows_of(node: gs.Node, values: NDArray[Any] | None = None) -> NDArray[Any]:
    """The weight of *node*, a linear layer: [outputs, channels of the group, window].

    Or other *values* of its shape; the weight itself is returned in float64.
    """
    if values is None:
        values = np.asarray(constant_value(node.inputs[1]), np.float64)
    if node.op == "ConvTranspose":
        groups, outer = groups_of(node), values.shape[1]
        split = values.reshape(groups, -1, outer, *values.shape[2:]).swapaxes(1, 2)
        return split.reshape(groups * outer, split.shape[2], -1)
    if node.op != "Conv" and not _turned(node):
        values = values.T
    return np.ascontiguousarray(values).reshape(*values.shape[:2], -1)


def rows_shape(node: gs.Node) -> tuple[int, int, int]:
    """The shape that ``rows_of`` gives the weight of *node*."""
    first, second, *window = (int(n) for n in node.inputs[1].shape)
    if node.op == "ConvTranspose":
        groups = groups_of(node)
        first, second = groups * second, first // groups
    elif node.op != "Conv" and not _turned(node):
        first, second = second, first
    return first, second, math.prod(window)


def output_axis(node: gs.Node) -> int:
    """The axis of output channels in the weight of *node*; of ConvTranspose, within a group."""
    return 0 if node.op == "Conv" or _turned(node) else 1


def spread_columns(node: gs.Node, factors: Array) -> Array:
    """*factors* of the channels that the linear *node* reads, shaped to multiply its weight."""
    weight = node.inputs[1]
    rank = len(weight.shape)
    if node.op != "Conv":
        return factors.reshape((1, -1) if _turned(node) else (-1, *[1] * (rank - 1)))
    outputs, inputs = weight.shape[:2]
    rows = factors.reshape(-1, inputs)
    if len(rows) > 1:
        rows = np.repeat(rows, outputs // len(rows), axis=0)
    return rows.reshape(*rows.shape, *[1] * (rank - 2))


def spread_outputs(node: gs.Node, factors: Array) -> Array:
    """*factors* of the channels that *node*, a linear layer, writes, shaped likewise."""
    weight = node.inputs[1]
    rank = len(weight.shape)
    if node.op == "Conv":
        return factors.reshape(-1, *[1] * (rank - 1))
    if node.op == "ConvTranspose":
        inner, outer = weight.shape[:2]
        by_group = factors.reshape(-1, outer)
        rows = np.repeat(by_group, inner // len(by_group), axis=0)
        return rows.reshape([inner, outer] + [1] * (rank - 2))
    return factors.reshape((-1, 1) if _turned(node) else (1, -1))


def _turned(node: gs.Node) -> bool:
    return node.op == "Gemm" and bool(attribute(node, "transB", 0))
