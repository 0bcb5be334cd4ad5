"""whole-float-gates: let SiLU that stays in float be the one kernel that runtimes have for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, constant_value, consumers, is_constant, replace_input
from onnxq.passes._scope import Scope
from onnxq.passes.emit._gates import channel_factor
from onnxq.passes.equalize._ends import spread_columns
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.scaled import note_scaled


@dataclass(frozen=True, kw_only=True)
class WholeFloatGates(Pass):
    """Let SiLU that stays in float behind an integer layer be one kernel.

    What it does
        'equalize-silu' leaves ``y' = x' · sigmoid(k · x')`` with x' = x / k and y' = y / k. Where
        such a gate stays in float between an integer layer, for which x' was scaled, and float
        convolutions, their weights take k back::

            x = k · x'        y = x · sigmoid(x)        w = w' / k

    Why
        Runtimes have one kernel for x · sigmoid(x), none for x' · sigmoid(k · x'): what was one
        pass over memory became four. 'hold-gates' lets DequantizeLinear multiply by k.

    Example
        ``DQ → x', Mul(k) → Sigmoid, Mul(x', ·) → Conv(w')`` becomes
        ``DQ → Mul(k) → Sigmoid, Mul → Conv(w)``.

    When it declines
        The gate runs on integers. A factor stays where something else than float Convs with stored
        weights reads the result, or where that is an output of the graph.

    Numerics
        The same function up to rounding in float32.

    Source
        onnxruntime, quick_gelu_fusion.cc; seen on optimized graphs of 1.31.
    """

    name: ClassVar[str] = "whole-float-gates"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    def run(self, model: Model, ctx: Context) -> None:
        scope = Scope(model)
        for scale in scope.sites("Mul"):
            gate = _gate(scope, scale)
            readers = [] if gate is None else _convolutions(scope, gate.outputs[0])
            if gate is not None and readers:
                _unscale(scope, scale, gate, readers)


def _gate(scope: Scope, scale: gs.Node) -> gs.Node | None:
    """The Mul that multiplies what *scale* reads by the Sigmoid of what it writes."""
    found = channel_factor(scale)
    if found is None or not scope.only_use(scale.outputs[0]):
        return None
    sigmoid = consumers(scale.outputs[0])[0][0]
    if sigmoid.op != "Sigmoid" or not scope.only_use(sigmoid.outputs[0]):
        return None
    gate = consumers(sigmoid.outputs[0])[0][0]
    reads = any(t is scale.inputs[found[0]] for t in gate.inputs)
    return gate if gate.op == "Mul" and reads else None


def _convolutions(scope: Scope, tensor: gs.Tensor) -> list[gs.Node]:
    """The Convs with float weights that read *tensor*; none where something else does."""
    uses = [] if scope.is_output(tensor) else consumers(tensor)
    fitting = all(
        node.op == "Conv" and index == 0 and is_constant(node.inputs[1]) for node, index in uses
    )
    return [node for node, _ in uses] if fitting else []


def _unscale(scope: Scope, scale: gs.Node, gate: gs.Node, readers: list[gs.Node]) -> None:
    """Let *gate* multiply what *scale* writes, and *readers* take back its factor."""
    found = channel_factor(scale)
    assert found is not None
    index, value = found
    k = np.asarray(value, np.float64).reshape(-1)
    both = [t is scale.inputs[index] for t in gate.inputs]
    replace_input(gate, both.index(True), scale.outputs[0])
    for node in readers:
        weight = constant_value(node.inputs[1])
        assert weight is not None
        scope.set_constant(node, 1, (weight * spread_columns(node, 1 / k)).astype(np.float32))
    note_scaled(scope.model, {gate.outputs[0].name: k})
