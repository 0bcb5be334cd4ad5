"""What pass 'hold-gates' puts behind a conversion, in the form that it had before."""

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
from onnxq.report.clips import quantizer_of


def unhold(model: Model) -> None:
    """Let each DequantizeLinear with a factor for each channel have the scale of its codes.

    The Reshape to the same shape behind it becomes the product with the factor, or nothing where
    that is 1; in place.
    """
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
