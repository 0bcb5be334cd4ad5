"""Factors that 'hold-gates' and 'scale-on-entry' put into scales, in the form they had before."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import (
    Model,
    bypass,
    constant_value,
    insert_node,
    producer,
    remove_node,
    replace_input,
)
from onnxq.report.clips import MOVES, quantizer_of


def unhold(model: Model) -> None:
    """Let conversions with a factor for each channel have one scale for their codes; in place.

    The Reshape to the same shape behind a DequantizeLinear becomes the product with the factor, or
    nothing where that is 1. In front of a QuantizeLinear the product comes back.
    """
    _unhold_exits(model)
    _unhold_entries(model)


def _unhold_entries(model: Model) -> None:
    """Let each QuantizeLinear by channel whose codes have one scale have that."""
    readers: dict[int, gs.Node] = {}
    for node in [n for n in model.nodes() if n.op == "DequantizeLinear"]:
        above = producer(node.inputs[0])
        while above is not None and above.op in MOVES:
            above = producer(above.inputs[0])
        if above is not None and above.op == "QuantizeLinear":
            readers[id(above)] = node
    for node in [n for n in model.nodes() if n.op == "QuantizeLinear" and id(n) in readers]:
        dequantize = readers[id(node)]
        scales, scale = constant_value(node.inputs[1]), constant_value(dequantize.inputs[1])
        if scales is None or scale is None or scale.size > 1 or scales.size < 2:
            continue
        x = node.inputs[0]
        rank = 4 if x.shape is None else len(x.shape)
        for index in range(1, min(len(node.inputs), len(dequantize.inputs))):
            replace_input(node, index, dequantize.inputs[index])
        node.attrs.pop("axis", None)
        factor = scale.astype(np.float32).reshape(()) / scales.astype(np.float32)
        k = gs.Constant(
            model.unique_name(f"{x.name}__factor"), factor.reshape(1, -1, *[1] * (rank - 2))
        )
        even = gs.Variable(model.unique_name(f"{x.name}__scaled"), x.dtype, x.shape)
        insert_node(model, "Mul", [x, k], [even], name=model.unique_name(f"{x.name}__scale"))
        replace_input(node, 0, even)


def _unhold_exits(model: Model) -> None:
    for node in [n for n in model.nodes() if n.op == "Reshape"]:
        shape, dequantize = constant_value(node.inputs[1]), producer(node.inputs[0])
        if shape is None or shape.any() or node.attrs.get("allowzero"):
            continue
        if dequantize is None or dequantize.op != "DequantizeLinear":
            continue
        quantizer = quantizer_of(dequantize.inputs[0], "Clip")
        scales = constant_value(dequantize.inputs[1])
        scale = None if quantizer is None else constant_value(quantizer.inputs[1])
        if quantizer is None or scales is None or scale is None or scale.size >= scales.size:
            continue
        for index in (1, 2):
            replace_input(dequantize, index, quantizer.inputs[index])
        dequantize.attrs.pop("axis", None)
        factor = scales.astype(np.float32) / scale.astype(np.float32).reshape(())
        if np.ptp(factor) or factor.flat[0] != 1:
            _multiply(model, node, factor.reshape(-1, *[1] * (shape.size - 2)))
        else:
            bypass(model, node)


def _multiply(model: Model, node: gs.Node, factor: NDArray[np.float32]) -> None:
    """Let *node* be the product of what it reads and *factor*."""
    x, out, name = node.inputs[0], node.outputs[0], node.name
    remove_node(model, node)
    k = gs.Constant(model.unique_name(f"{name}__factor"), factor[np.newaxis])
    insert_node(model, "Mul", [x, k], [out], name=name)
