"""Which tensors of a quantized model are read by an activation function alone."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_graphsurgeon as gs

from onnxq.graph import (
    Model,
    bypass,
    constant_value,
    consumers,
    is_constant,
    producer,
    replace_uses,
)
from onnxq.pipeline.eligibility import read_through
from onnxq.report.relaxed import MOVES, parameters


def functions_read(qdq: Model, names: Mapping[str, str]) -> dict[str, tuple[str, float]]:
    """By tensor of the float model, the function s · f(x / s) that alone reads it: f and s.

    *names* maps tensors of *qdq* to those of the float model. What counts is the error behind the
    function (see ``measure``). Data movement hands on what was rounded before, and is left out.
    """
    plain = _without_codes(qdq)
    outputs = {id(t) for graph in plain.graphs() for t in graph.outputs}
    found = {}
    for name, tensor in plain.tensors().items():
        above = None if is_constant(tensor) else producer(tensor)
        if above is not None and name in names and above.op not in (*MOVES, "Concat"):
            function = read_through(tensor, outputs) or _taken_back(tensor, outputs)
            if function is not None:
                found[names[name]] = function
    return found


def _taken_back(tensor: gs.Tensor, outputs: set[int]) -> tuple[str, float] | None:
    """The same of ``SiLU(k · x)``, which is 1 / s of it, as 'whole-float-gates' leaves it."""
    users = consumers(tensor)
    if id(tensor) in outputs or len(users) != 1 or users[0][0].op != "Mul":
        return None
    node, index = users[0]
    k = constant_value(node.inputs[1 - index])
    if k is None or not k.size or k.min() <= 0 or id(node.outputs[0]) in outputs:
        return None
    inner = read_through(node.outputs[0], outputs)
    return ("silu", 1 / float(k.min())) if inner == ("silu", 1.0) else None


def _without_codes(qdq: Model) -> Model:
    """*qdq* without its conversions: constants as what they stand for, activations as floats."""
    model = qdq.clone()
    for node in list(model.graph.nodes):
        if node.op not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        stored = constant_value(node.inputs[0])
        if stored is None:
            bypass(model, node)
        elif node.op == "DequantizeLinear" and not model.is_output(node.outputs[0]):
            qparams = parameters(node)
            if qparams is not None:
                name = model.unique_name(f"{node.outputs[0].name}__value")
                value = gs.Constant(name, qparams.dequantize(stored))
                replace_uses(model, node.outputs[0], value)
    return model
