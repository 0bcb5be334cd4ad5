"""hold-gates: let a float gate behind an integer layer be the one kernel that runtimes have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, constant_value, consumers, replace_input
from onnxq.passes._scope import Scope
from onnxq.passes.emit._gates import channel_factor
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class HoldGates(Pass):
    """Let SiLU that reads dequantized codes be one kernel, and factors for each channel be none.

    What it does
        Between a DequantizeLinear and the gate x · sigmoid(x) behind it stands a Reshape to the
        same shape. Where a product with a factor for each channel stands there, as 'equalize-silu'
        leaves it, DequantizeLinear takes the factor into its scales, and the Reshape its place;
        so it is for other readers of such a product, as 'equalize-exits' leaves it. In front of a
        gate without one the scale is repeated for each channel, too.

    Why
        ONNX Runtime has one kernel for x · sigmoid(x), if both read one tensor. What
        DequantizeLinear computes is no such tensor: each of its readers is given one of its own,
        and what was one pass over memory becomes four. A Reshape costs nothing, for it copies
        nothing; behind a scale for each channel the runtime leaves it where it is.

    Example
        ``DQ(s) → Mul(k) → Sigmoid, Mul`` becomes ``DQ(s · k) → Reshape → Sigmoid, Mul``.

    When it declines
        The gate is on integers; something else reads what it reads; the number of channels is not
        known; other runtimes than ONNX Runtime.

    Numerics
        The same function up to rounding in float32, of s · k once instead of x · k.

    Source
        onnxruntime, quick_gelu_fusion.cc, ensure_unique_dq_for_node_unit.cc, qdq_propagation.cc;
        seen on optimized graphs of 1.31.
    """

    name: ClassVar[str] = "hold-gates"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    def run(self, model: Model, ctx: Context) -> None:
        scope = Scope(model)
        for dequantize in _sources(model, ctx):
            _hold(scope, dequantize)


def holds_gates(model: Model, ctx: Context) -> bool:
    """Whether there is anything for the pass to look at."""
    return bool(_sources(model, ctx))


def _sources(model: Model, ctx: Context) -> list[gs.Node]:
    """The conversions of activations that a gate alone reads, or a factor for each channel."""
    if not ctx.target.rounds_float_weights:  # not ONNX Runtime on the CPU
        return []
    found = [n for n in model.nodes() if n.op == "DequantizeLinear" and _reads_codes(n)]
    return [n for n in found if _gated(model, n.outputs[0]) or _factor(model, n) is not None]


def _reads_codes(node: gs.Node) -> bool:
    """Whether *node* has one stored scale, and what it reads is computed."""
    scale = constant_value(node.inputs[1])
    return constant_value(node.inputs[0]) is None and scale is not None and scale.size == 1


def _gated(model: Model, tensor: gs.Tensor) -> bool:
    """Whether nothing but x · sigmoid(x) reads *tensor*."""
    users = consumers(tensor)
    sigmoids = [node for node, _ in users if node.op == "Sigmoid"]
    if len(users) != 2 or len(sigmoids) != 1 or model.is_output(tensor):
        return False
    p = sigmoids[0].outputs[0]
    behind = [node for node, _ in consumers(p)]
    gate = next(node for node, _ in users if node is not sigmoids[0])
    return gate.op == "Mul" and len(behind) == 1 and behind[0] is gate and not model.is_output(p)


def _factor(model: Model, dequantize: gs.Node) -> tuple[gs.Node, NDArray[np.generic]] | None:
    """The Mul by a positive factor for each channel that alone reads *dequantize*; the factor."""
    users = consumers(dequantize.outputs[0])
    if len(users) != 1 or users[0][0].op != "Mul" or model.is_output(dequantize.outputs[0]):
        return None
    node = users[0][0]
    found = channel_factor(node)
    return None if found is None else (node, found[1].reshape(-1))


def _hold(scope: Scope, dequantize: gs.Node) -> None:
    model, x = scope.model, dequantize.outputs[0]
    found = _factor(model, dequantize)
    shape = x.shape
    if shape is None or len(shape) < 2 or not isinstance(shape[1], int):
        return
    k = np.ones(shape[1], np.float32) if found is None else found[1]
    if k.size != shape[1]:
        return
    for index, value in ((1, k), (2, np.ones(k.size))):
        old = dequantize.inputs[index]
        given = constant_value(old)
        assert given is not None
        name = model.unique_name(f"{old.name}__channels")
        replace_input(dequantize, index, gs.Constant(name, (given * value).astype(given.dtype)))
    dequantize.attrs["axis"] = 1
    same = gs.Constant(model.unique_name(f"{x.name}__shape"), np.zeros(len(shape), np.int64))
    if found is not None:
        held = found[0].outputs[0]
        beside, name = found[0], found[0].name
        scope.remove(found[0])
    else:
        beside = next(node for node, _ in consumers(x) if node.op == "Sigmoid")
        held = gs.Variable(model.unique_name(f"{x.name}__held"), x.dtype, shape)
        name = model.unique_name(f"{beside.name}__hold")
        for node, index in consumers(x):
            replace_input(node, index, held)
    scope.insert(beside, "Reshape", [x, same], [held], name=name)
