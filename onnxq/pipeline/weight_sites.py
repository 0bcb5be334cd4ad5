"""Where operators keep weights, and along which axis each is summed over."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import attribute, is_constant
from onnxq.quant import PerBlock

#: Kernels of ``NodePlan`` that no static plan knows.
DYNAMIC_LINEAR = "MatMulIntegerToFloat"
DYNAMIC_LSTM = "DynamicQuantizeLSTM"
STORED = "stored weights"

SITES: dict[str, tuple[int, ...]] = {
    "MatMul": (0, 1), "Gemm": (1,), "Conv": (1,), "ConvTranspose": (1,), "Gather": (0,),
    "RNN": (1, 2), "GRU": (1, 2), "LSTM": (1, 2),
}  # fmt: skip
"""By operator type, the inputs that may be weights."""


def run_of(node: gs.Node, index: int) -> PerBlock | None:
    """Along which axis blocks of the weight at input *index* run, whole rows; None: it is none.

    Products run along what is summed over; a Conv's filter, and whatever has one row an index of
    its first axis, is one row.
    """
    if node.domain not in (None, "", "ai.onnx") or index not in SITES.get(node.op, ()):
        return None
    if index >= len(node.inputs) or not is_constant(node.inputs[index]):
        return None
    tensor = node.inputs[index]
    rank = len(tensor.shape)
    if tensor.dtype != np.float32 or rank < 2 or 0 in tensor.shape:
        return None
    if node.op == "MatMul":
        return PerBlock(rank - 2 if index else rank - 1, 0)
    if node.op == "Gemm":
        return PerBlock(1 if attribute(node, "transB", 0) else 0, 0)
    if node.op in ("RNN", "GRU", "LSTM"):
        return PerBlock(2, 0)
    if node.op == "Gather" and attribute(node, "axis", 0) != 0:
        return None
    return PerBlock(1, 0, flat=True)
