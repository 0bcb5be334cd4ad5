"""A QDQ model whose results are rounded as a target rounds them, in explicit arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from onnxq.integer.simulation.requantize import clipped, rounded
from onnxq.integer.simulation.writer import SINGLE, Writer
from onnxq.quant import Rounding


def rounded_as(model: onnx.ModelProto, rounding: Rounding) -> None:
    """Let every QuantizeLinear of *model* round as *rounding* says, in place.

    It becomes x / s, rounded, plus the zero point, clipped; what dequantizes these codes becomes
    their product with s. Inputs of the model keep theirs: they are quantized outside of the target.
    Scales per channel, and codes that something else reads, stay as they are.
    """
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    inputs = {i.name for i in graph.input}
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    kept = {o.name for o in graph.output}
    write = Writer(taken={*stored, *inputs, *(o for n in graph.node for o in n.output)})
    real: set[str] = set()
    for node in graph.node:
        grid = [stored.get(name) for name in node.input[1:3]]
        known = len(grid) == 2 and grid[0] is not None and grid[1] is not None
        if node.op_type == "QuantizeLinear" and known and node.input[0] not in inputs:
            scale, zero = (numpy_helper.to_array(t) for t in grid if t is not None)
            codes = node.output[0]
            alone = readers.get(codes) == {"DequantizeLinear"} and codes not in kept
            if scale.size == 1 and alone and zero.dtype.kind in "iu":
                _quantize(write, node, scale, zero, rounding)
                real.add(codes)
                continue
        elif node.op_type == "DequantizeLinear" and node.input[0] in real:
            scale, zero = (numpy_helper.to_array(t) for t in grid if t is not None)
            write.step = node.name
            found = node.input[0]
            if zero.any():
                found = write.node("Sub", [found, write.constant(zero.reshape(()), SINGLE)])
            write.node("Mul", [found, write.constant(scale.reshape(()), SINGLE)], node.output[0])
            continue
        write.nodes.append(node)
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in write.nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(write.stored)
    typed = [i for i in graph.value_info if i.name not in real]  # codes are floats now
    del graph.value_info[:]
    graph.value_info.extend(typed)


def _quantize(
    write: Writer, node: onnx.NodeProto, scale: NDArray[Any], zero: NDArray[Any],
    rounding: Rounding,
) -> None:  # fmt: skip
    write.step = node.name
    steps = write.node("Div", [node.input[0], write.constant(scale.reshape(()), SINGLE)])
    found, limits = rounded(write, steps, SINGLE, rounding), np.iinfo(zero.dtype)
    if zero.any():
        found = write.node("Add", [found, write.constant(zero.reshape(()), SINGLE)])
    found = clipped(write, found, SINGLE, (int(limits.min), int(limits.max)))
    write.node("Identity", [found], node.output[0])
