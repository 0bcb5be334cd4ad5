"""Layers whose integer kernel may saturate on CPUs without VNNI.

There, kernels for uint8 activations and int8 weights add two products in 16 bits with saturation
(VPMADDUBSW). Two codes of one sign that the kernel adds overflow where 255 · (|w₁| + |w₂|) leaves
int16: from |w₁| + |w₂| = 129. Which codes meet is known for convolutions (channels last) and for
matrices (along K); depthwise kernels widen before they add. ConvInteger multiplies weights by
activations, int8 by uint8, for which there is no such kernel. Activations are taken to reach 255,
but where their codes are clipped to less.

Source: Intel's description of VPMADDUBSW; ``quant/pairs.py`` for the order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from onnxq.quant.pairs import kernel_rows
from onnxq.runtime.origins import origins

#: The largest sum of two codes' magnitudes that cannot saturate.
LIMIT = 128
_SUM = 2**15 - 1
_MOVES = (
    "Transpose", "Reshape", "MaxPool", "NhwcMaxPool", "Flatten", "Squeeze", "Unsqueeze", "Pad",
    "SpaceToDepth",
)  # fmt: skip
#: By kernel: which inputs are the activation, its zero point (its type) and the weight.
_INPUTS = {
    "QLinearConv": (0, 2, 3), "QLinearMatMul": (0, 2, 3), "QGemm": (0, 2, 3),
    "MatMulInteger": (0, 2, 1), "MatMulIntegerToFloat": (0, 4, 1),
    "DynamicQuantizeMatMul": (0, -1, 1),
}  # fmt: skip


@dataclass(frozen=True)
class Exposure:
    """A layer that may saturate.

    Attributes:
        node, op_type: its node of the model, and its kernel.
        channels: how many of its output channels have a pair of weights beyond the limit.
        of: how many output channels it has.
        worst: the largest sum of two codes' magnitudes that meet.
        body: which body it is in; "" for the main graph.
    """

    node: str
    op_type: str
    channels: int
    of: int
    worst: int
    body: str = ""


def exposed(
    model: onnx.GraphProto, optimized: onnx.GraphProto, body: str = ""
) -> Iterator[Exposure]:
    """Layers of *model*, which is the *body* of that name, that may saturate, in order.

    *optimized* is what it was optimized to.
    """
    names = origins(model, optimized)
    writers = {name: node for node in optimized.node for name in node.output}
    stored = {t.name: t for t in optimized.initializer}
    types = {name: t.data_type for name, t in stored.items()}
    types |= {v.name: v.type.tensor_type.elem_type for v in optimized.input}
    types |= {v.name: v.type.tensor_type.elem_type for v in optimized.value_info}
    for node in optimized.node:
        if node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear"):
            zero = node.input[2] if len(node.input) > 2 else ""
            types[node.output[0]] = types.get(zero, TensorProto.UINT8)
        places = _INPUTS.get(node.op_type)
        if places is None:
            continue
        weight = stored.get(node.input[places[2]])
        if weight is None or weight.data_type != TensorProto.INT8:
            continue
        if _activation(node, places, types) != TensorProto.UINT8:
            continue
        sums = _pair_sums(node, numpy_helper.to_array(weight))
        limit = LIMIT if places[1] < 0 else _SUM // _largest_code(node.input[0], writers, stored)
        over = int((sums > limit).sum())
        if over:
            name = names.get(node.name, node.name)
            yield Exposure(name, node.op_type, over, sums.size, int(sums.max()), body)


def _largest_code(
    name: str, writers: Mapping[str, NodeProto], stored: Mapping[str, TensorProto]
) -> int:
    """The largest code that a uint8 tensor can hold: behind a Clip of codes, less than 255."""
    node = writers.get(name)
    while node is not None and node.op_type in _MOVES:
        node = writers.get(node.input[0])
    if node is None or node.op_type != "Clip" or len(node.input) < 3:
        return 255
    bound = stored.get(node.input[2])
    return 255 if bound is None else max(int(numpy_helper.to_array(bound).reshape(())), 1)


def _activation(node: NodeProto, places: tuple[int, int, int], types: dict[str, int]) -> int:
    x, zero = places[0], places[1]
    if zero < 0:
        return int(TensorProto.UINT8)  # quantized in the kernel
    if len(node.input) > zero and node.input[zero] in types:
        return types[node.input[zero]]
    return types.get(node.input[x], TensorProto.UINT8)


def _pair_sums(node: NodeProto, w: NDArray[Any]) -> NDArray[Any]:
    """Largest magnitude of the sum of two codes that meet, by output channel."""
    given = {a.name: a.i for a in node.attribute}
    if "Conv" in node.op_type:
        if w.shape[1] == 1 and given.get("group", 1) == w.shape[0]:
            return np.zeros(w.shape[0], np.int64)
        rows = kernel_rows(w, 0, 1)
    elif w.ndim == 2 and w.shape[0] and w.shape[1]:
        axis = 0 if given.get("transB", 0) else 1
        rows = kernel_rows(w, axis, 1 - axis)
    else:  # which codes meet is not known: the two largest of one sign
        rows = np.moveaxis(w, -1, 0).reshape(w.shape[-1], -1).astype(np.int64)
        signed = np.stack([np.maximum(rows, 0), np.maximum(-rows, 0)])
        return np.asarray(np.sort(signed, axis=2)[..., -2:].sum(axis=2).max(axis=0))
    even = rows.shape[1] // 2 * 2  # the last of an odd number meets nothing
    first, second = rows[:, 0:even:2].astype(np.int16), rows[:, 1:even:2]
    return np.asarray(np.abs(first + second).max(axis=1, initial=0))
