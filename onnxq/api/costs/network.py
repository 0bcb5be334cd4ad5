"""A network with every kind of kernel that costs are listed by, in any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

IMAGE = 3
"""Channels of the input, as of photographs: the first convolution is a shallow one."""


def network(channels: int, side: int) -> onnx.ModelProto:
    """Blocks of *channels* on images of *side* × *side*, as in networks of convolutions.

    Each node that a block is about stands between convolutions, so that layouts and fusions are
    those of real networks. The input is float [1, 3, side, side].
    """
    made = _Chain(channels)
    x = made.conv("image", IMAGE, kernel=3)
    x = made.conv(x, channels, kernel=3)
    x = made.conv(x, channels)
    x = made.conv(x, channels, kernel=3, group=channels)
    x = made.conv(made.node("Mul", x, made.node("Sigmoid", x)), channels)  # SiLU
    other = made.conv(x, channels)
    gate = made.node("Sigmoid", made.conv(x, channels))
    x = made.conv(made.node("Mul", other, gate), channels)
    x = made.conv(made.node("Add", x, other), channels)
    x = made.conv(made.node("Concat", x, other, axis=1), 2 * channels)
    x = made.node("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    scaled = made.node("Mul", x, made.weight(1, channels, 1, 1))  # no Conv that could take it in
    x = made.conv(made.node("Concat", x, scaled, axis=1), 2 * channels)
    x = made.node("AveragePool", made.conv(x, channels), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = made.conv(made.node("Transpose", made.conv(x, channels), perm=[0, 1, 3, 2]), channels)
    sizes = made.constant(np.array([1, 1, 2, 2], np.float32))
    wide = made.node(
        "Resize", x, "", sizes, mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip
    x = made.conv(wide, channels, stride=2)
    x = made.conv(made.node("Tanh", x), channels)  # has no integer kernel: Q and DQ around it
    x = made.node("Flatten", made.node("GlobalAveragePool", x))
    x = made.node("Gemm", x, made.weight(channels, 4 * channels))
    x = made.node("Gemm", x, made.weight(4 * channels, 10), out="scores")
    return made.model(side)


class _Chain:
    """Nodes that are written down one after another; tensors are strings."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)

    def constant(self, value: NDArray[np.float32]) -> str:
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, *shape: int) -> str:
        """Random numbers that keep the size of values about the same."""
        spread = 1.0 / np.sqrt(max(np.prod(shape) / max(shape[:2]), 1.0))
        return self.constant((spread * self._rng.standard_normal(shape)).astype(np.float32))

    def node(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"t{len(self.nodes)}"
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name, **attributes))
        return out

    def conv(self, x: str, given: int, *, kernel: int = 1, group: int = 1, stride: int = 1) -> str:
        weight = self.weight(self.channels, given // group, kernel, kernel)
        pad, zeros = kernel // 2, self.constant(np.zeros(self.channels, np.float32))
        return self.node(
            "Conv", x, weight, zeros, group=group, kernel_shape=[kernel, kernel],
            strides=[stride, stride], pads=[pad] * 4,
        )  # fmt: skip

    def model(self, side: int) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, IMAGE, side, side])
        scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 10])
        graph = helper.make_graph(self.nodes, "kernels", [image], [scores], self.stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
