"""Moves of codes that pass 'move-codes' makes, in QDQ form: moves of what codes stand for."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import (
    Model,
    bypass,
    constant_value,
    consumers,
    insert_node,
    producer,
    replace_input,
)
from onnxq.report.clips import quantizer_of

_MOVED = ("Pad", "SpaceToDepth")


def unmove(model: Model) -> None:
    """Let each Pad with the zero point, and SpaceToDepth, of codes move numbers, in place.

    At an input of the model, where the first layer alone asks for it, channels that are multiplied
    by zeros are taken away again, and what else is moved goes behind the DequantizeLinear and
    belongs to that layer; elsewhere what is moved is quantized again, to the
    same grid, and is a layer of its own.
    """
    for node in [n for n in model.graph.nodes if n.op in _MOVED and not n.domain]:
        quantizer = quantizer_of(node.inputs[0], "Clip")
        if quantizer is None or not _puts_zero(node, quantizer):
            continue
        readers = [user for user, _ in consumers(node.outputs[0])]
        first = producer(quantizer.inputs[0]) is None and producer(node.inputs[0]) is quantizer
        if first and _narrowed(model, node):
            continue
        if first and len(readers) == 1 and readers[0].op == "DequantizeLinear":
            _behind(node, readers[0])
        else:
            _between(model, node, quantizer)
        if node.op == "Pad":
            replace_input(node, 2, gs.Variable.empty())


def arranges_input(node: gs.Node) -> bool:
    """Whether *node* moves an input of the model alone, for the layer behind."""
    return node.op in _MOVED and not node.domain and producer(node.inputs[0]) is None


def _narrowed(model: Model, node: gs.Node) -> bool:
    """Take *node* away, where it pads channels that a Conv multiplies by zeros; whether it did."""
    amounts = constant_value(node.inputs[1]) if node.op == "Pad" else None
    if amounts is None or amounts.tolist() != [0, 0, 0, 0, 0, amounts.max(), 0, 0]:
        return False
    readers = [user for user, _ in consumers(node.outputs[0])]
    behind = consumers(readers[0].outputs[0]) if len(readers) == 1 else []
    if len(behind) != 1 or behind[0][0].op != "Conv" or behind[0][1] != 0:
        return False
    weight = producer(behind[0][0].inputs[1])
    codes = None if weight is None else constant_value(weight.inputs[0])
    if weight is None or codes is None or len(consumers(weight.inputs[0])) > 1:
        return False
    kept = codes.shape[1] - int(amounts.max())
    if codes[:, kept:].any():
        return False
    name = model.unique_name(f"{weight.inputs[0].name}__narrow")
    replace_input(weight, 0, gs.Constant(name, np.ascontiguousarray(codes[:, :kept])))
    weight.outputs[0].shape = None
    bypass(model, node)
    return True


def _puts_zero(node: gs.Node, quantizer: gs.Node) -> bool:
    """Whether *node*, if it is a Pad, puts in the code that stands for 0."""
    if node.op != "Pad":
        return True
    value = constant_value(node.inputs[2]) if len(node.inputs) > 2 else None
    zero = constant_value(quantizer.inputs[2])
    if value is None or zero is None or value.dtype.kind not in "iu":
        return False
    return len(node.inputs) == 3 and np.array_equal(value.reshape(-1), zero.reshape(-1))


def _behind(node: gs.Node, reader: gs.Node) -> None:
    """Exchange *node* and the DequantizeLinear *reader* behind it."""
    real = reader.outputs[0]
    replace_input(reader, 0, node.inputs[0])
    inner = node.outputs[0]
    inner.dtype, inner.shape = np.float32, None
    reader.outputs[0], node.outputs[0] = inner, real
    replace_input(node, 0, inner)


def _between(model: Model, node: gs.Node, quantizer: gs.Node) -> None:
    """Dequantize what *node* reads, and quantize what it writes."""
    grid, codes = quantizer.inputs[1:3], node.outputs[0]
    real, moved = (
        gs.Variable(model.unique_name(f"{codes.name}__{what}"), np.float32)
        for what in ("real", "moved")
    )
    insert_node(model, "DequantizeLinear", [node.inputs[0], *grid], [real],
                name=model.unique_name(f"{node.name}__dequantize"))  # fmt: skip
    replace_input(node, 0, real)
    node.outputs[0] = moved
    insert_node(model, "QuantizeLinear", [moved, *grid], [codes],
                name=model.unique_name(f"{node.name}__quantize"))  # fmt: skip
