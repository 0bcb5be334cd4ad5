"""The pass ``widen-float16``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers, producer
from onnxq.passes._scope import is_standard
from onnxq.passes.canonical._defaults import fix_defaults
from onnxq.passes.canonical._float16 import (
    HALF,
    SINGLE,
    all_tensors,
    attribute_constants,
    holds_half,
    is_half,
    obstacles,
    type_attributes,
)
from onnxq.passes.canonical._half_ends import inner_outputs, widen_output, widen_source
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class WidenFloat16(Pass):
    """Let a float16 model compute in float32.

    What it does:
        Constants, tensors in attributes and element types that attributes ask for become float32
        where they were float16, in sub-graphs too. Inputs and outputs of the model stay float16,
        with a Cast behind each input and before each output. Models without float16, those in
        bfloat16 included, stay as they are.

    Why:
        Integer kernels of the CPU take and give float32 only, and most float kernels of the CPU
        compute in float32 anyway: a float16 model could neither be measured fast nor quantized.

    Example:
        ``y = Relu(x)`` in float16  becomes
        ``a = Cast<to = FLOAT>(x)  b = Relu(a)  y = Cast<to = FLOAT16>(b)``.

    When it declines:
        An operator of another domain reads or writes float16, or a type that is not known; BitCast
        reads the bits of float16; there is a sequence, an optional, a map or a sparse attribute of
        float16. Then nothing is changed in the whole model.

    Numerics:
        Widening is exact; the result lacks the roundings of each layer to float16, and overflows
        to infinity later. Expect 1e-3 of the largest output; declared are 1e-2.

    Source:
        ONNX operator specification, type constraints; IEEE 754 binary16 and binary32.
    """

    name: ClassVar[str] = "widen-float16"
    stage: ClassVar[Stage] = Stage.CANONICALIZE
    preserves: ClassVar[float | None] = 1e-2

    def run(self, model: Model, ctx: Context) -> None:
        """Widen the whole model, or leave it as it is."""
        if not holds_half(model):
            return
        reasons = list(obstacles(model, ctx))
        for where, reason in reasons:
            ctx.decline(where, reason)
        if reasons:
            return
        if fix_defaults(model):
            ctx.journal.warn("inputs have stored values; these are constants from here on")
        ends = {id(t): t for t in (*model.graph.inputs, *model.graph.outputs)}
        halves = {key: t for key, t in ends.items() if is_half(t)}
        for tensor in all_tensors(model):
            if is_half(tensor) and id(tensor) not in ends:
                _widen(tensor)
        given = {id(t) for t in model.graph.inputs}
        casts = {key: _narrowing(model, t) for key, t in halves.items() if key not in given}
        kept = {id(node) for node in casts.values() if node is not None}
        for node in model.nodes():
            for constant in filter(is_half, attribute_constants(node)):
                _widen(constant)
            if id(node) not in kept:
                node.attrs.update(dict.fromkeys(type_attributes(node), SINGLE))
        for key, tensor in halves.items():
            if key in given or isinstance(tensor, gs.Constant):
                widen_source(model, tensor)
            elif casts[key] is None:
                widen_output(model, tensor, HALF)
        ctx.facts = {name: fact for name, fact in ctx.facts.items() if fact.dtype != HALF}


def _widen(tensor: gs.Tensor) -> None:
    if isinstance(tensor, gs.Constant):
        tensor.values = np.asarray(tensor.values).astype(np.float32)
        tensor._export_dtype = None
    else:
        tensor.dtype = np.dtype(np.float32)


def _narrowing(model: Model, output: gs.Tensor) -> gs.Node | None:
    """The Cast to float16 that computes *output* and nothing else: the boundary is there."""
    node = producer(output)
    if node is None or node.op != "Cast" or not is_standard(node):
        return None
    if consumers(output) or inner_outputs(model, output):
        return None
    return node if node.attrs.get("to") == HALF else None
