"""Quant nodes of QONNX, which Brevitas and FINN export, as standard arithmetic.

    Quant(x) = (clip(round(x / s + z), low, high) − z) · s

Source: QONNX, operator ``Quant`` (Pappalardo et al. 2022, "QONNX: Representing Arbitrary-Precision
Quantized Neural Networks").
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model, attribute
from onnxq.passes._scope import Scope
from onnxq.passes.canonical._computed import Computed

DOMAINS = (
    "qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op",
)  # fmt: skip
_ROUNDINGS = ("ROUND", "HALF_EVEN", "")


def quant_nodes(model: Model) -> list[gs.Node]:
    """The Quant nodes of *model*."""
    return [n for n in model.nodes() if n.op == "Quant" and n.domain in DOMAINS]


def expand_quant_nodes(model: Model) -> None:
    """Write every Quant node of *model* as Div, Add, Round, Clip, Sub and Mul.

    Raises:
        UnsupportedModelError: its width or zero point is computed while the model runs, or it
            rounds in another way than to the nearest; names the node.
    """
    nodes = quant_nodes(model)
    if not nodes:
        return
    scope, known = Scope(model), Computed(model)
    for node in nodes:
        low, high = _codes(node, known)
        x, scale, zero = node.inputs[:3]
        name, result = node.name or node.outputs[0].name, node.outputs[0]
        ends = [
            gs.Constant(model.unique_name(f"{name}__{end}"), np.array(value, np.float32))
            for end, value in (("least", low), ("most", high))
        ]
        node.outputs.clear()
        steps: tuple[tuple[str, list[gs.Tensor]], ...] = (
            ("Div", [scale]), ("Add", [zero]), ("Round", []), ("Clip", ends), ("Sub", [zero]),
            ("Mul", [scale]),
        )  # fmt: skip
        now = x
        for op, others in steps:
            label = model.unique_name(f"{name}__{op.lower()}")
            made = result if op == "Mul" else gs.Variable(label, np.float32, result.shape)
            scope.insert(node, op, [now, *others], [made], name=label)
            now = made
        scope.remove(node)


def _codes(node: gs.Node, known: Computed) -> tuple[int, int]:
    rounding = str(attribute(node, "rounding_mode", "ROUND")).upper()
    width = known.value(node.inputs[3])
    if width is None or width.size != 1 or rounding not in _ROUNDINGS:
        what = "its width is computed" if rounding in _ROUNDINGS else f"it rounds by {rounding}"
        raise UnsupportedModelError(
            f"'{node.name}' (Quant) cannot be read: {what}",
            hint="export with a constant width and rounding to the nearest",
        )
    bits = round(float(width.reshape(())))
    narrow = int(attribute(node, "narrow", 0))
    if attribute(node, "signed", 1):
        return -(1 << (bits - 1)) + narrow, (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1 - narrow
