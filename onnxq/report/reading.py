"""Which tensors of a quantized model are read by an activation function alone."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_graphsurgeon as gs

from onnxq.graph import Model, bypass, constant_value, is_constant, producer, replace_uses
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
            function = read_through(tensor, outputs)
            if function is not None:
                found[names[name]] = function
    return found


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
