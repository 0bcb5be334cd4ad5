"""Whether a node can become an integer kernel of the target, and what it can absorb."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, constant_value, consumers, is_constant
from onnxq.pipeline.context import Context
from onnxq.targets import OpRule, Role


@dataclass(frozen=True)
class Absorption:
    """Where the quantized output of a node lies.

    Attributes:
        tensor: the tensor to quantize: the node's output, or that of the last absorbed node.
        nodes: activation nodes behind it that the quantized range makes redundant.
        limits: the real range that those nodes clamp to; None where there are none.
    """

    tensor: gs.Tensor
    nodes: tuple[gs.Node, ...] = ()
    limits: tuple[float, float] | None = None


NOT_FLOAT = "it computes no floats: nothing to quantize"  # shapes, indices, truth values


def why_not(node: gs.Node, rule: OpRule | None, model: Model, ctx: Context) -> str | None:
    """Why *node* cannot run on integers on the target; None where it can."""
    if node.name in ctx.plan.excluded:
        return ctx.plan.excluded[node.name]
    if not node.name:
        return "it has no name: 'name-nodes' gives one"
    if node.domain not in (None, "", "ai.onnx"):
        return f"custom operator {node.domain}.{node.op}"
    if node.outputs and not any(_may_be_float(t, ctx) for t in node.outputs):
        return NOT_FLOAT
    if rule is None:
        return f"no integer kernel for {node.op} on {ctx.target.name}"
    if model.opset < rule.since:
        return f"{node.op} has an integer kernel only from opset {rule.since}, not {model.opset}"
    return (
        _why_not_tensors(node, rule, ctx)
        or _why_not_weight(node, rule)
        or _why_not_operator(node, rule, ctx)
    )


def _why_not_tensors(node: gs.Node, rule: OpRule, ctx: Context) -> str | None:
    indices = rule.activation_inputs(len(node.inputs))
    for index in indices:
        if index >= len(node.inputs) or node.inputs[index].is_empty():
            return f"input {index} is absent"
        tensor = node.inputs[index]
        kind = _element_type(tensor, ctx)
        if kind is None:
            return f"the type of '{tensor.name}' is not known"
        if kind != onnx.TensorProto.FLOAT:
            return f"'{tensor.name}' is {onnx.TensorProto.DataType.Name(kind).lower()}, not float"
    if all(is_constant(node.inputs[i]) for i in indices):
        return "all of its inputs are constant"
    return None


def _may_be_float(tensor: gs.Tensor, ctx: Context) -> bool:
    kinds = onnx.TensorProto
    return _element_type(tensor, ctx) not in (kinds.INT32, kinds.INT64, kinds.BOOL, kinds.STRING)


def _element_type(tensor: gs.Tensor, ctx: Context) -> int | None:
    fact = ctx.facts.get(tensor.name)
    if fact is not None:
        return fact.dtype
    if tensor.dtype is None:
        return None
    if isinstance(tensor.dtype, int):
        return tensor.dtype
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)))


def _why_not_weight(node: gs.Node, rule: OpRule) -> str | None:
    for index, what in ((rule.weight, "weight"), (rule.bias, "bias")):
        if index is None or index >= len(node.inputs) or node.inputs[index].is_empty():
            continue
        tensor = node.inputs[index]
        if not is_constant(tensor):
            return f"its {what} '{tensor.name}' is computed, not stored"
        if tensor.dtype != np.float32:
            return f"its {what} '{tensor.name}' is {tensor.dtype}, not float32"
        if 0 in tensor.shape:
            return f"its {what} '{tensor.name}' is empty"
    return None


def _why_not_operator(node: gs.Node, rule: OpRule, ctx: Context) -> str | None:
    if (
        len(node.outputs) > 1
        and node.op != "Split"
        and any(t.outputs or t.name for t in node.outputs[1:])
    ):
        return f"its second output '{node.outputs[1].name}' is used"
    if node.op == "Gemm":
        return _why_not_gemm(node)
    if node.op == "MatMul" and ctx.rank(node.inputs[1]) == 1:
        return "its weight is a vector"
    if node.op == "Resize" and (mode := _text(node.attrs.get("mode", "nearest"))) != "nearest":
        return f"integers are resized in mode nearest only, not {mode}"
    if node.op == "Pad" and len(node.inputs) > 2 and not node.inputs[2].is_empty():
        value = constant_value(node.inputs[2])
        if value is None or value.any():
            return "it pads with another value than 0"
    if rule.role is Role.ELEMENTWISE and node.op in ("Add", "Mul"):
        return _why_not_bias_add(node, ctx)
    return None


def _why_not_gemm(node: gs.Node) -> str | None:
    has_bias = len(node.inputs) > 2 and not node.inputs[2].is_empty()
    columns = node.inputs[1].shape[0 if node.attrs.get("transB", 0) else 1]
    if has_bias and (node.attrs.get("alpha", 1.0) != 1.0 or node.attrs.get("beta", 1.0) != 1.0):
        return "its alpha or beta is not 1"
    if has_bias and int(np.prod(node.inputs[2].shape)) != columns:
        return f"its bias has the shape {list(node.inputs[2].shape)}, not [{columns}]"
    return None


def _why_not_bias_add(node: gs.Node, ctx: Context) -> str | None:
    """A constant added to a float result: quantizing it would round the sum twice."""
    constants = [t for t in node.inputs if is_constant(t)]
    others = [t for t in node.inputs if not is_constant(t)]
    if constants and others and others[0].inputs:
        above = others[0].inputs[0]
        rule = ctx.target.rules.get(above.op)
        if rule is not None and rule.float_output:
            return f"applies a constant to the float output of '{above.name}': exact in float"
    return None


def absorbed(node: gs.Node, rule: OpRule, outputs: set[int], ctx: Context) -> Absorption:
    """The activation nodes behind *node* that a quantized range can stand for.

    *outputs* are the ids of graph outputs. An activation is absorbed where it is the only reader,
    clamps to constants that enclose zero, and is not excluded by the user; none where all tensors
    share one range.
    """
    result = Absorption(node.outputs[0])
    if ctx.plan.one_scale and ctx.target.removes_absorbed:
        return result  # the codes that all tensors share reach beyond its limits
    while True:
        users = consumers(result.tensor)
        if len(users) != 1 or id(result.tensor) in outputs:
            return result
        user = users[0][0]
        grid = ctx.trained.activations.get(result.tensor.name)
        if grid is not None and (
            user.op != "Relu" or ctx.trained.activations.get(user.outputs[0].name, grid) != grid
        ):
            return result  # training has rounded in between
        limits = clamp(user) if user.op in rule.absorbs else None
        if limits is None or user.name in ctx.plan.excluded:
            return result
        low, high = result.limits or (-np.inf, np.inf)
        joined = (max(low, limits[0]), min(high, limits[1]))
        if not joined[0] <= 0.0 <= joined[1] or joined[0] == joined[1]:
            return result
        result = Absorption(user.outputs[0], (*result.nodes, user), joined)


def integer_bias(ctx: Context) -> bool:
    """Whether biases become int32: beside floating-point numbers they stay in float."""
    return ctx.target.quantized_bias and not ctx.plan.floating


def added_bias(node: gs.Node, outputs: set[int], ctx: Context) -> tuple[gs.Node, int] | None:
    """The Add that alone reads *node*, a MatMul, and the index of the vector that it adds.

    ONNX Runtime makes a Gemm of the two before it looks for integer kernels; without an integer
    bias that Gemm stays in float. *outputs* are the ids of graph outputs.
    """
    users = consumers(node.outputs[0])
    if node.op != "MatMul" or len(users) != 1 or id(node.outputs[0]) in outputs:
        return None
    user, index = users[0]
    if user.op != "Add" or user.name in ctx.plan.excluded or not integer_bias(ctx):
        return None
    bias, weight = user.inputs[1 - index], node.inputs[1]
    shape = tuple(bias.shape) if is_constant(bias) else ()
    fits = bias.dtype == np.float32 and len(weight.shape) == 2 and shape == weight.shape[1:]
    return (user, 1 - index) if fits and len(consumers(bias)) == 1 else None


def clamp(node: gs.Node) -> tuple[float, float] | None:
    """The real range that Relu or Clip clamps to, None where it is computed."""
    if node.op == "Relu":
        return 0.0, np.inf
    bounds = [float(node.attrs.get("min", -np.inf)), float(node.attrs.get("max", np.inf))]
    for slot, tensor in enumerate(node.inputs[1:3]):
        if tensor.is_empty():
            continue
        value = constant_value(tensor)
        if value is None or value.size != 1:
            return None
        bounds[slot] = float(value.reshape(()))
    return bounds[0], bounds[1]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


_FUNCTIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hardswish", "Gelu": "gelu"}


def read_through(tensor: gs.Tensor, outputs: set[int]) -> tuple[str, float] | None:
    """The function s · f(x / s) that alone reads *tensor*: the name of f, and s.

    ``x · Sigmoid(x)`` is ``("silu", 1)``. ``x · Sigmoid(k · x)`` with constants k > 0, as many as
    there are channels, is taken for ``("silu", s)`` with the largest s = 1 / k: its gate is the
    last one to close. None where something else reads *tensor* too. *outputs* are the ids of graph
    outputs.
    """
    users = [user for user, _ in consumers(tensor)]
    if id(tensor) in outputs or not users:
        return None
    if len(users) == 1:
        k = _positive_factor(users[0])
        if k is not None:
            found = read_through(users[0].outputs[0], outputs)
            return None if found is None else (found[0], found[1] / float(k.min()))
        name = _FUNCTIONS.get(users[0].op)
        return None if name is None else (name, 1.0)
    if len(users) != 2:
        return None
    for branch, gate in (users, users[::-1]):
        scale, node = 1.0, branch
        if branch.op == "Mul" and is_constant(branch.inputs[1]):
            k = constant_value(branch.inputs[1])
            after = consumers(branch.outputs[0])
            if k is None or not k.size or k.min() <= 0 or len(after) != 1:
                continue
            if id(branch.outputs[0]) in outputs:
                continue
            scale, node = 1 / float(k.min()), after[0][0]
        if node.op != "Sigmoid" or gate.op != "Mul" or id(node.outputs[0]) in outputs:
            continue
        gated = [user for user, _ in consumers(node.outputs[0])]
        if len(gated) == 1 and gated[0] is gate:
            return "silu", scale
    return None


def _positive_factor(node: gs.Node) -> NDArray[np.generic] | None:
    """The positive constant by which *node* multiplies each channel; None where it does not."""
    k = constant_value(node.inputs[1]) if node.op == "Mul" else None
    return k if k is not None and k.size > 1 and k.min() > 0 else None


def gate_floors(tensor: gs.Tensor) -> tuple[float, ...] | None:
    """Where the gates ``Sigmoid(k · x)`` that read *tensor* close, by channel: −5 / k.

    None where there is no k by channel. SiLU(−5) is −0.03, and hardly anything below it.
    """
    for user, _ in consumers(tensor):
        k = _positive_factor(user)
        after = sorted(node.op for node, _ in consumers(user.outputs[0]))
        if k is not None and after in (["Sigmoid"], ["Mul", "Sigmoid"]):
            return tuple(float(v) for v in -5.0 / k.reshape(-1).astype(np.float64))
    return None
