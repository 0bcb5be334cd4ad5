"""Stored weights that become floats by Cast and Mul, as the DequantizeLinear that they stand for.

    w = (Cast(codes) − Cast(zero)) · scale  =  DequantizeLinear(codes, scale, zero)

Runtimes compute the left side at load; what reads models knows the right one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, constant_value, insert_node, is_constant, producer, remove_node
from onnxq.quant.dtypes import FLOATS

_BLOCKS_OPSET = 21
_CODES = {"int8", "uint8", "int4", "uint4", "int2", "uint2"} | {
    f.numpy.name for f in FLOATS.values()
}


def stores_weights(model: Model) -> bool:
    """Whether a weight of *model*, also in a sub-graph, is stored in this form."""
    return any(True for node in model.nodes() if _stored(node) is not None)


def to_dequantize(model: Model) -> None:
    """Rewrite, in place, all of this form in the main graph that DequantizeLinear can express."""
    for node, codes, scale, zero in list(_sites(model.graph)):
        shape, wide = tuple(codes.shape), scale.shape
        kept = [axis for axis, d in enumerate(wide) if d > 1]
        ones = [axis for axis, d in enumerate(shape) if d > 1 and wide[axis] == 1]
        if len(kept) <= 1:
            attrs = {"axis": kept[0] if kept else 0}
            parameters = (
                [scale.reshape(-1)] if zero is None else [scale.reshape(-1), zero.reshape(-1)]
            )
        elif len(ones) == 1 and model.opset >= _BLOCKS_OPSET:
            attrs = {"axis": ones[0], "block_size": int(shape[ones[0]])}
            parameters = [scale] if zero is None else [scale, zero]
        else:
            continue
        result, name = node.outputs[0], node.name
        inputs = [codes]
        for value, what in zip(parameters, ("scale", "zero_point"), strict=False):
            label = model.unique_name(f"{result.name}__{what}")
            inputs.append(gs.Constant(label, np.ascontiguousarray(value)))
        remove_node(model, node)
        insert_node(model, "DequantizeLinear", inputs, [result], attrs, name=name, like=node)


def _sites(
    graph: gs.Graph,
) -> Iterator[tuple[gs.Node, gs.Constant, NDArray[Any], NDArray[Any] | None]]:
    for node in graph.nodes:
        found = _stored(node)
        if found is not None:
            yield (node, *found)


def _stored(node: gs.Node) -> tuple[gs.Constant, NDArray[Any], NDArray[Any] | None] | None:
    """Codes, scale and zero point of the Mul *node*; None where it is no such weight."""
    if node.op != "Mul" or not is_constant(node.inputs[1]):
        return None
    above, zero = producer(node.inputs[0]), None
    if above is not None and above.op == "Sub":
        zero = _cast(above.inputs[1])
        above = None if zero is None else producer(above.inputs[0])
    codes = None if above is None or above.op != "Cast" else above.inputs[0]
    if codes is None or not is_constant(codes) or np.dtype(codes.dtype).name not in _CODES:
        return None
    scale = constant_value(node.inputs[1])
    if scale is None or scale.ndim != len(codes.shape):
        return None
    return codes, scale, None if zero is None else constant_value(zero)


def _cast(tensor: gs.Tensor) -> gs.Tensor | None:
    """The constant that *tensor* is cast from."""
    above = producer(tensor)
    found = None if above is None or above.op != "Cast" else above.inputs[0]
    return found if found is not None and is_constant(found) else None
