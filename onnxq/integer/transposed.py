"""ConvTranspose: a convolution of the input with zeros between its elements.

    y[o, u] = b[o] + Σ x[c, i] · w[c, o, u + p − s · i]

Around and between the elements lies the code of 0, the zero point: one more row and column of it,
which indices then bring to where the stride and the pads want it. What is left is a convolution
with the kernel turned round, without stride or pads.

Source: ONNX operator ConvTranspose-11; Dumoulin and Visin 2016, "A guide to convolution arithmetic
for deep learning", chapter 4.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute
from onnxq.integer.kinds import Conv, Pad, Take, Window
from onnxq.integer.pending import Pending
from onnxq.integer.refuse import refused
from onnxq.integer.sources import Sources


def conv_transpose(at: Sources, node: gs.Node) -> list[Pending]:
    """The input spread out, then a convolution; two steps more than the node."""
    x, weight = at.value(node.inputs[0], node), at.weight(node, 1, 1)
    if len(x.shape) != 4 or weight.codes.ndim != 4:
        raise refused(node, f"it is {weight.codes.ndim - 2}-D; only 2-D convolutions are there",
                      "reshape the model to [N, C, 1, W]")  # fmt: skip
    groups, channels = int(attribute(node, "group", 1)), x.shape[1]
    kernel, of_group = weight.codes.shape[2:], weight.codes.shape[1]
    scales = tuple(x.scale * s for s in weight.scales)
    scales = scales * groups if len(scales) > 1 else scales
    turned = weight.codes.reshape(groups, channels // groups, of_group, *kernel)
    turned = turned.swapaxes(1, 2)[..., ::-1, ::-1].reshape(-1, channels // groups, *kernel)
    holes = [int(d) for d in attribute(node, "dilations", [1, 1])]
    rows, columns = (_places(node, axis, x.shape[2 + axis], (kernel[axis] - 1) * holes[axis] + 1)
                     for axis in (0, 1))  # fmt: skip
    zeros = Pad((0, 0, 0), (0, 1, 1), x.zero_point)
    wide = (1, channels, x.shape[2] + 1, x.shape[3] + 1)
    name = node.outputs[0].name
    x = at.between(Pending(node, zeros, (x.name,), (x.scale,), wide), f"{name}__zeros")
    spread = Take((np.arange(channels), rows, columns))
    apart = (1, channels, rows.size, columns.size)
    x = at.between(Pending(node, spread, (x.name,), (x.scale,), apart), f"{name}__spread")
    view = Window((int(kernel[0]), int(kernel[1])), (1, 1), (holes[0], holes[1]), (0, 0, 0, 0))
    count = groups * of_group
    bias = at.bias(node, 2, scales, count)
    bias = bias - turned.reshape(count, -1).sum(axis=1) * x.zero_point
    kind = Conv(turned, bias, view, groups, x.zero_point)
    return [Pending(node, kind, (x.name,), scales, (1, count, *view.output(*x.shape[2:])))]


def _places(node: gs.Node, axis: int, size: int, span: int) -> NDArray[np.int64]:
    """Which of *size* elements, or the one behind them, each place that the kernel sees holds."""
    step = int(attribute(node, "strides", [1, 1])[axis])
    more = int(attribute(node, "output_padding", [0, 0])[axis])
    pads, mode = attribute(node, "pads", [0, 0, 0, 0]), attribute(node, "auto_pad", "NOTSET")
    first, last = (0, 0) if mode == "VALID" else (int(pads[axis]), int(pads[axis + 2]))
    wanted = attribute(node, "output_shape", None)
    full = step * (size - 1) + more + span
    if wanted is not None or mode.startswith("SAME"):
        cut = full - (int(wanted[-2:][axis]) if wanted is not None else size * step)
        half = cut // 2
        first, last = (half, cut - half) if mode == "SAME_UPPER" else (cut - half, half)
    count = full - first - last
    if count < 1:
        raise refused(node, f"its pads leave nothing of {full} elements", "check the model")
    at = np.arange(count + span - 1) + first - (span - 1)
    inside = (at >= 0) & (at % step == 0) & (at // step < size)
    return np.where(inside, at // step, size).astype(np.int64)
