"""Multiply-accumulates of the nodes of any model, quantized ones included."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import onnx

from onnxq.calibrate.random_data import random_data
from onnxq.errors import OnnxqError
from onnxq.graph import Model
from onnxq.pipeline import Context, TensorFact
from onnxq.pipeline.macs import macs
from onnxq.report.inspection import stated_facts
from onnxq.report.skeleton import op_class
from onnxq.runtime.probe import probe
from onnxq.runtime.session import Session
from onnxq.targets import get_target

#: Operators in integers: the operator that they stand for, and which inputs are its operands.
_OPERANDS = {
    "QLinearConv": ("Conv", (0, 3)), "QLinearMatMul": ("MatMul", (0, 3)),
    "QGemm": ("Gemm", (0, 3)), "FusedConv": ("Conv", (0, 1)),
    "FusedMatMul": ("MatMul", (0, 1)), "FusedGemm": ("Gemm", (0, 1)),
}  # fmt: skip


def costs(proto: onnx.ModelProto) -> dict[str, int | None]:
    """Multiply-accumulates by node name, for a batch of one; None where shapes are not known.

    Shapes are those that the file states; where these do not suffice, the model is run once on
    random numbers.
    """
    model = Model.load(proto)
    ctx = Context(target=get_target("generic"))
    ctx.facts = stated_facts(model)
    found = _costs(model, ctx)
    if any(cost is None for cost in found.values()):
        ctx.facts |= _measured(model, proto)
        found = _costs(model, ctx)
    return found


def _costs(model: Model, ctx: Context) -> dict[str, int | None]:
    return {n.name: macs(_like(n), ctx) for n in model.graph.nodes if n.outputs}


def _like(node: Any) -> Any:
    """*node* as the float operator that it stands for."""
    op, places = _OPERANDS.get(node.op, (op_class(node), None))
    inputs = node.inputs
    if places is not None and len(inputs) > max(places):
        inputs = [inputs[i] for i in places]
    return SimpleNamespace(op=op, inputs=inputs, outputs=node.outputs, attrs=node.attrs)


def _measured(model: Model, proto: onnx.ModelProto) -> dict[str, TensorFact]:
    """Types and shapes of a run on random numbers; nothing where there cannot be one."""
    try:
        inputs = Session(proto, optimize=False).inputs
        found = probe(model, random_data(inputs, samples=1).first())
    except OnnxqError:
        return {}
    return {name: TensorFact(info.dtype, info.shape) for name, info in found.items()}
