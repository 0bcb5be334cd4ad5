"""The quantized model as it would be emitted now, and where its layers hold their biases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers, is_constant
from onnxq.passes.correct._drift import FLOAT, Biased, hold, take_off
from onnxq.passes.correct._rounded import rounded_as
from onnxq.pipeline import Context
from onnxq.pipeline.function import copy_context
from onnxq.pipeline.registry import get
from onnxq.pipeline.side_by_side import side_by_side

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
    bias, shape = adder.inputs[index], ctx.shape(adder.outputs[0])
    if len(consumers(bias)) != 1 or shape is None or len(shape) < 2:
        return None
    return Biased(adder, bias, axis % len(shape), shape)


def planned_biases(model: Model, ctx: Context) -> tuple[dict[str, Biased], list[gs.Node]]:
    """By the node that adds it, the bias of each planned layer; and the layers that have none."""
    found, without = {}, []
    for node in model.graph.nodes:
        if node.op in LINEAR and node.name in ctx.plan.nodes:
            one = biased(node, ctx)
            if one is None:
                without.append(node)
            else:
                found[one.node.name] = one
    return found, without


def beside_float(
    model: Model, ctx: Context, layers: Mapping[str, Biased]
) -> tuple[onnx.ModelProto, set[str]]:
    """The quantized model as it is now, and *model* in front of it, its names behind ``FLOAT``.

    What *layers* drift by on average is taken off in the run. Also returned are the names of those
    whose mean is plain, see ``take_off``.
    """
    twin = emitted(model, ctx).to_proto()
    if ctx.target.integer is not None:
        rounded_as(twin, ctx.target.integer.rounding)
    joined = side_by_side(twin, model.to_proto(), FLOAT)
    plain = take_off(joined, layers)
    hold(joined, {n.name for n in model.graph.nodes if n.op in LINEAR} - layers.keys())
    return joined, plain
