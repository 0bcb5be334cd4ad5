"""Which values of its input each output of a linear layer is a weighted sum of."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnxq.graph import attribute
from onnxq.quant.patches import Columns, Reads, Window


def reads_of(node: gs.Node) -> Reads:
    """The patches that *node*, a Conv, Gemm, MatMul or ConvTranspose, reads.

    Those of a ConvTranspose are single places, each of which is added to several outputs.
    """
    if node.op not in ("Conv", "ConvTranspose"):
        turned = node.op == "Gemm" and attribute(node, "transA", 0)
        return Columns(-2 if turned else -1)
    spatial = len(node.inputs[1].shape) - 2
    one, groups = (1,) * spatial, int(attribute(node, "group", 1))
    if node.op == "ConvTranspose":
        return Window(one, one, one, (0,) * 2 * spatial, groups)
    auto = attribute(node, "auto_pad", "NOTSET")
    return Window(
        tuple(int(k) for k in node.inputs[1].shape[2:]),
        tuple(attribute(node, "strides", None) or one),
        tuple(attribute(node, "dilations", None) or one),
        tuple(attribute(node, "pads", None) or [0] * 2 * spatial),
        groups,
        auto.decode() if isinstance(auto, bytes) else str(auto),
    )
