"""store-float16: what stays in floating point is stored in half the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import Model, constant_value, consumers, insert_node, replace_input
from onnxq.passes._scope import Scope, is_standard
from onnxq.pipeline import Context, Pass, Stage

_HALF = float(np.finfo(np.float16).max)
_CODES = ("QuantizeLinear", "DequantizeLinear")
_LOSS = 2.0**-10
"""Noise over signal, as a ratio of norms, beyond which a constant is too small for float16."""


@dataclass(frozen=True, kw_only=True)
class StoreFloat16(Pass):
    """Store constants that stay in float as float16, and widen them when the model is loaded.

    What it does
        Every float32 constant of ``least`` values or more that operators of ONNX read becomes
        float16, with a Cast to float32 behind it. Scales of codes stay as they are.

    Why
        Layers that stay in float (excluded, or with no integer kernel), tables and biases are
        then half as large. ONNX Runtime computes such a Cast once, when it loads the model: the
        layers run as fast as before. It has next to no float16 kernels for the CPU; a model that
        computed in float16 would be slower there, or not run.

    Example
        ``y = MatMul(x, w)``  becomes  ``v = Cast<to = FLOAT>(w16)  y = MatMul(x, v)``.

    When it declines
        Constants with values beyond 65,504, or so small that float16 loses their digits; those
        that both a graph and a sub-graph read; those of operators of other domains.

    Numerics
        float16 has 11 significant bits: noise is at most 2⁻¹¹ of each value.

    Source
        IEEE 754 binary16; that ONNX Runtime folds the Cast was seen on optimized graphs.

    Attributes:
        least: smaller constants stay as they are.
    """

    name: ClassVar[str] = "store-float16"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = 2e-2

    least: int = 64

    def run(self, model: Model, ctx: Context) -> None:
        scope = Scope(model)
        seen: set[int] = set()
        for node in list(model.nodes()):
            for tensor in list(node.inputs):
                if id(tensor) in seen or not isinstance(tensor, gs.Constant):
                    continue
                seen.add(id(tensor))
                if tensor.dtype == np.float32 and int(np.prod(tensor.shape)) >= self.least:
                    self._store(scope, tensor, ctx)

    def _store(self, scope: Scope, tensor: gs.Constant, ctx: Context) -> None:
        readers = consumers(tensor)
        if any(node.op in _CODES or not is_standard(node) for node, _ in readers):
            return
        homes = {id(scope.graph(node)) for node, _ in readers}
        value = constant_value(tensor)
        assert value is not None, tensor.name
        largest = float(np.abs(value).max())
        reason = ""
        if len(homes) != 1 or scope.is_output(tensor):
            reason = "a graph and a sub-graph read it"
        elif not largest <= _HALF:
            reason = f"a value of {largest:.3g} is beyond float16"
        else:
            half = value.astype(np.float16)
            loss = np.linalg.norm(half.astype(np.float32) - value)
            if loss > _LOSS * np.linalg.norm(value):
                reason = f"values of up to {largest:.3g} lose digits in float16"
        if reason:
            ctx.decline(tensor.name, reason)
            return
        model, first = scope.model, readers[0][0]
        stored = gs.Constant(model.unique_name(f"{tensor.name}__half"), half)
        wide = gs.Variable(model.unique_name(f"{tensor.name}__wide"), np.float32, tensor.shape)
        name = model.unique_name(f"{tensor.name}__widen")
        insert_node(
            model, "Cast", [stored], [wide], {"to": onnx.TensorProto.FLOAT}, name=name,
            graph=scope.graph(first),
        )  # fmt: skip
        for node, index in readers:
            replace_input(node, index, wide)
