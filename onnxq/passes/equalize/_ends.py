"""Where factors of channels begin, and where they end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import constant_value

Ids = NDArray[np.int64]
"""Variables, one for each channel of a tensor."""


@dataclass(frozen=True, eq=False)
class Source:
    """A layer whose output channels can be scaled.

    Attributes:
        conv: the layer, with stored weights of its own.
        tensor: what carries the variables: its output, or that of the SiLU behind it.
        ids: the variables, int64 [channels].
        sigmoid, gate: the two nodes of the SiLU; None where there is none.
    """

    conv: gs.Node
    tensor: gs.Tensor
    ids: Ids
    sigmoid: gs.Node | None = None
    gate: gs.Node | None = None


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer whose weights can take factors back.

    Attributes:
        node: the layer.
        axis: the axis of input channels in its weight; for a grouped Conv see ``groups``.
        groups: into how many groups a Conv divides its channels.
        ids: the variables of its input channels, int64 [channels].
    """

    node: gs.Node
    axis: int
    groups: int
    ids: Ids

    @property
    def depthwise(self) -> bool:
        """Whether each output channel reads one input channel, so that factors cost nothing."""
        return self.groups > 1 and self.groups == self.ids.size

    def spread(self, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """*factors* [channels], shaped to multiply the weight."""
        weight = self.node.inputs[1]
        rank = len(weight.shape)
        if self.groups == 1:
            return factors.reshape([-1 if i == self.axis else 1 for i in range(rank)])
        outputs, inputs = weight.shape[:2]
        by_output = np.repeat(factors.reshape(self.groups, inputs), outputs // self.groups, axis=0)
        return by_output.reshape([outputs, inputs] + [1] * (rank - 2))

    def magnitude(self) -> NDArray[np.float64]:
        """Largest |weight| that reads each input channel, [channels]."""
        weight = np.asarray(constant_value(self.node.inputs[1]), np.float64)
        others = tuple(i for i in range(weight.ndim) if i != self.axis)
        if self.groups == 1:
            return np.asarray(np.abs(weight).max(others))
        by_output = np.abs(weight).reshape(self.groups, -1, weight.shape[1], weight[0, 0].size)
        return np.asarray(by_output.max((1, 3)).reshape(-1))
