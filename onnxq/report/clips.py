"""Clip of codes, in QDQ form: Clip of the numbers that they stand for."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, constant_value, consumers, insert_node, producer, remove_node

_MOVES = frozenset({
    "Flatten", "Identity", "MaxPool", "Pad", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split",
    "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip


def unclip(model: Model) -> None:
    """Put each Clip of codes whose grid is known in front of the QuantizeLinear, in place.

    A Clip of what one QuantizeLinear alone hands on moves before it; elsewhere the codes are
    dequantized, clipped, and quantized again to the same grid.
    """
    for node in [n for n in model.graph.nodes if n.op == "Clip" and not n.domain]:
        limits = [constant_value(t) if t.name else None for t in node.inputs[1:3]]
        quantizer = quantizer_of(node.inputs[0])
        if quantizer is None or not any(v is not None and v.dtype.kind in "iu" for v in limits):
            continue
        scale, zero = (constant_value(t) for t in quantizer.inputs[1:3])
        if scale is not None and zero is not None and scale.size == 1:
            _rewrite(model, node, quantizer, scale, zero)


def quantizer_of(tensor: gs.Tensor, *through: str) -> gs.Node | None:
    """The QuantizeLinear, with a zero point, whose codes *tensor* holds, perhaps moved.

    Operators of types *through* may stand in between, too.
    """
    above = producer(tensor)
    while above is not None and (above.op in _MOVES or above.op in through):
        above = producer(above.inputs[0])
    known = above is not None and above.op == "QuantizeLinear" and len(above.inputs) > 2
    return above if known else None


def _rewrite(
    model: Model, node: gs.Node, quantizer: gs.Node, scale: NDArray[np.generic],
    zero: NDArray[np.generic],
) -> None:  # fmt: skip
    ends: list[gs.Tensor] = []
    for tensor in node.inputs[1:3]:
        code = constant_value(tensor) if tensor.name else None
        if code is None:
            ends.append(gs.Variable.empty())
            continue
        real = (code.astype(np.float32) - zero.astype(np.float32)) * scale.astype(np.float32)
        ends.append(
            gs.Constant(model.unique_name(f"{tensor.name}__real"), np.array(real).reshape(()))
        )
    source, result, name, grid = node.inputs[0], node.outputs[0], node.name, quantizer.inputs[1:3]
    moves = producer(source) is quantizer and len(consumers(source)) == 1
    remove_node(model, node)
    clipped = gs.Variable(model.unique_name(f"{result.name}__clipped"), np.float32)
    real_source = quantizer.inputs[0]
    if moves and not model.is_output(source):
        remove_node(model, quantizer)
    else:
        real_source = gs.Variable(model.unique_name(f"{source.name}__real"), np.float32)
        insert_node(model, "DequantizeLinear", [source, *grid], [real_source],
                    name=model.unique_name(f"{name}__dequantize"))  # fmt: skip
    insert_node(model, "Clip", [real_source, *ends], [clipped], name=name)
    insert_node(model, "QuantizeLinear", [clipped, *grid], [result],
                name=model.unique_name(f"{name}__quantize"))  # fmt: skip
