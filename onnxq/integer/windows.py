"""The window of a Conv or pooling node, from its attributes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute
from onnxq.integer.kinds import Window
from onnxq.integer.refuse import refused
from onnxq.quant.patches import same_pads


def window(node: gs.Node, kernel: Sequence[int], shape: Sequence[int]) -> Window:
    """Kernel, strides, dilations and explicit pads of *node*.

    ``auto_pad`` and ``ceil_mode`` become pads: the window's positions then follow from them.

    Args:
        node: Conv, MaxPool or AveragePool in two dimensions.
        kernel: height and width.
        shape: of the input, [1, C, H, W].
    """
    strides = [int(s) for s in attribute(node, "strides", [1, 1])]
    dilations = [int(d) for d in attribute(node, "dilations", [1, 1])]
    pads = [int(p) for p in attribute(node, "pads", [0, 0, 0, 0])]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    mode = attribute(node, "auto_pad", "NOTSET")
    for axis in (0, 1):
        size, step, span = int(shape[2 + axis]), strides[axis], spans[axis]
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            pads[axis], pads[axis + 2] = same_pads(size, step, span, mode)
        elif mode == "VALID":
            pads[axis] = pads[axis + 2] = 0
        if attribute(node, "ceil_mode", 0):
            before = pads[axis]
            count = -(-(size + before + pads[axis + 2] - span) // step) + 1
            if (count - 1) * step >= size + before:  # no window starts in the pads behind
                count -= 1
            pads[axis + 2] = max(pads[axis + 2], (count - 1) * step + span - size - before)
    view = Window(
        (int(kernel[0]), int(kernel[1])), (strides[0], strides[1]),
        (dilations[0], dilations[1]), (pads[0], pads[1], pads[2], pads[3]),
    )  # fmt: skip
    if min(view.output(int(shape[2]), int(shape[3]))) < 1:
        raise refused(node, f"its window {list(kernel)} is larger than its input {list(shape)}",
                      "check the shape of the model's input")  # fmt: skip
    return view


def elements_inside(node: gs.Node, view: Window, shape: Sequence[int]) -> NDArray[np.int64]:
    """Elements that *node*, an AveragePool, divides by, for each position [rows, columns].

    Pads count where ``count_include_pad`` says so; what ``ceil_mode`` adds behind them never does.
    """
    given = [int(p) for p in attribute(node, "pads", [0, 0, 0, 0])]
    pads = view.pads if attribute(node, "auto_pad", "NOTSET") != "NOTSET" else given
    padded, found = bool(attribute(node, "count_include_pad", 0)), []
    for axis, count in enumerate(view.output(int(shape[2]), int(shape[3]))):
        size, before = int(shape[2 + axis]), view.pads[axis]
        low, high = (-before, size + pads[axis + 2]) if padded else (0, size)
        taps = np.arange(view.kernel[axis]) * view.dilations[axis] - before
        at = np.arange(count)[:, None] * view.strides[axis] + taps
        found.append(((at >= low) & (at < high)).sum(axis=1))
    return np.asarray(np.multiply.outer(*found), np.int64)
