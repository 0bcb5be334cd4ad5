"""The quantized model as it would be emitted now, and where its layers hold their biases."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers, is_constant
from onnxq.passes.correct._drift import Biased
from onnxq.pipeline import Context
from onnxq.pipeline.function import copy_context
from onnxq.pipeline.registry import get

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def emitted(model: Model, ctx: Context) -> Model:
    """*model* as it would be emitted now, with the values in place of integer weights."""
    twin, ctx = model.clone(), copy_context(ctx)
    tensors = twin.tensors()
    for name, codes in ctx.integers.items():
        tensors[name].values = ctx.qparams.pop(name).dequantize(np.asarray(codes))
    get("insert-qdq")().run(twin, ctx)
    return twin


def biased(node: gs.Node, ctx: Context) -> Biased | None:
    """The bias of the layer *node*, where it is a constant that nothing else reads."""
    index, axis, adder = 2, -1 if node.op == "Gemm" else 1, node
    if node.op == "MatMul":
        planned = ctx.plan.nodes.get(node.name)
        if planned is None or planned.adds is None:
            return None
        adder, index, axis = consumers(node.outputs[0])[0][0], planned.adds[1], -1
    if node.op not in LINEAR or len(adder.inputs) <= index or not is_constant(adder.inputs[index]):
        return None
    bias, rank = adder.inputs[index], ctx.rank(adder.outputs[0])
    if len(consumers(bias)) != 1 or rank is None or rank < 2:
        return None
    return Biased(adder, bias, axis % rank, rank)
