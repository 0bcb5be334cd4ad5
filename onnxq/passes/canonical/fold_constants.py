"""The pass ``fold-constants``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import OptionError
from onnxq.graph import Model, constant_value, is_constant
from onnxq.passes._scope import Scope, is_standard
from onnxq.passes._types import Stated
from onnxq.passes.canonical._evaluate import Refusal, evaluate
from onnxq.pipeline import Context, Pass, Stage

_LEFT = frozenset({
    "Bernoulli", "Constant", "DequantizeLinear", "Dropout", "DynamicQuantizeLinear", "Multinomial",
    "QuantizeLinear", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})  # fmt: skip
"""Random, or marks of an already quantized model, or the work of another pass."""


@dataclass(frozen=True, kw_only=True)
class FoldConstants(Pass):
    """Compute at once what depends on nothing but stored constants.

    What it does:
        A node all of whose inputs are stored is evaluated, and its outputs become stored
        constants; so on until nothing is left. Shape and Size of a tensor whose dimensions the
        model states, and Gather of such dimensions from a Shape, are constants too. Dimensions
        that were only measured on a sample are not used.

    Why:
        A weight behind a Reshape, Transpose or Cast is still a weight, and an integer kernel
        needs it stored.

    Example:
        ``w2 = Reshape(w, shape)  y = MatMul(x, w2)``  becomes  ``y = MatMul(x, w2)`` with the
        initializer ``w2``.

    When it declines:
        The result is an output of a graph; it is more than ``max_growth_mb`` larger than what it
        is made of (a ConstantOfShape or Expand would bloat the file); it is no plain tensor, or
        cannot be evaluated. Random operators, QuantizeLinear, DequantizeLinear and control flow
        are never candidates.

    Numerics:
        Evaluated in the type of the node by ONNX's reference implementation, whose transcendental
        functions may differ from the runtime's in the last bit.

    Source:
        ONNX operator specification and its reference implementation.

    Attributes:
        max_growth_mb: how many megabytes a result may be larger than its inputs.
    """

    name: ClassVar[str] = "fold-constants"
    stage: ClassVar[Stage] = Stage.CANONICALIZE
    preserves: ClassVar[float | None] = 1e-5

    max_growth_mb: float = 8.0

    def __post_init__(self) -> None:
        if not self.max_growth_mb >= 0:
            raise OptionError(
                f"fold-constants: max_growth_mb is {self.max_growth_mb}", hint="0 or more"
            )

    def run(self, model: Model, ctx: Context) -> None:
        """Fold until nothing more folds."""
        scope = Scope(model)
        stated = scope.stated
        declined: dict[int, tuple[gs.Node, str]] = {}
        folded = True
        while folded:
            folded = False
            for node in scope.sites():
                if id(node) in declined or not _candidate(node):
                    continue
                try:
                    folded |= self._fold(scope, node, stated)
                except Refusal as refusal:
                    declined[id(node)] = (node, str(refusal))
        for node, reason in declined.values():
            ctx.decline(node, reason)

    def _fold(self, scope: Scope, node: gs.Node, stated: Stated) -> bool:
        values: list[NDArray[Any] | None] | None
        if node.op in {"Shape", "Size", "Gather"} and not all(map(is_constant, node.inputs)):
            value = _dimensions(scope, node, stated)
            values = None if value is None else [value]
        else:
            values = []
        if values is None:
            return False
        for result in node.outputs:
            if scope.is_output(result):
                raise Refusal(f"its value '{result.name}' is an output of a graph")
        values = values or evaluate(node, scope.model.opset, int(self.max_growth_mb * 2**20))
        scope.store(
            node,
            [
                None if v is None else gs.Constant(t.name, v)
                for t, v in zip(node.outputs, values, strict=True)
            ],
        )
        return True


def _candidate(node: gs.Node) -> bool:
    if node.op in _LEFT or not node.inputs:
        return False
    if node.op in {"Shape", "Size"} or (node.op == "Gather" and is_constant(node.inputs[1])):
        return True
    return all(is_constant(t) or not t.name for t in node.inputs) and not any(
        isinstance(v, gs.Graph) for v in node.attrs.values()
    )


def _dimensions(scope: Scope, node: gs.Node, stated: Stated) -> NDArray[Any] | None:
    """The value of Shape, Size or Gather of Shape, where the model states what it takes."""
    if node.op == "Gather":
        above, picked = scope.above(node), constant_value(node.inputs[1])
        if above is None or above.op != "Shape" or not is_standard(above) or picked is None:
            return None
        dims = _shape_of(above, stated)
        if dims is None or any(not -len(dims) <= i < len(dims) for i in picked.reshape(-1)):
            return None
        chosen = [dims[i] for i in picked.reshape(-1)]
        if any(d is None for d in chosen):
            return None
        return np.asarray(chosen, dtype=np.int64).reshape(picked.shape)
    dims = _shape_of(node, stated)
    if dims is None or any(d is None for d in dims):
        return None
    known = np.asarray(dims, dtype=np.int64)
    return np.asarray(known.prod()) if node.op == "Size" else known


def _shape_of(node: gs.Node, stated: Stated) -> tuple[int | None, ...] | None:
    dims = stated.shape(node.inputs[0])
    if dims is None or node.op == "Size":
        return dims
    return dims[node.attrs.get("start", 0) : node.attrs.get("end", len(dims))]
