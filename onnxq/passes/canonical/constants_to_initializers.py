"""The pass ``constants-to-initializers``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.passes._scope import Scope
from onnxq.passes.canonical._defaults import OPTIONAL, fix_defaults
from onnxq.pipeline import Context, Pass, Stage

_KINDS = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


@dataclass(frozen=True, kw_only=True)
class ConstantsToInitializers(Pass):
    """Turn Constant nodes into stored constants (initializers).

    What it does:
        The output of a Constant node becomes a stored constant of the same name, in the main
        graph and in sub-graphs, and the node goes away. Initializers that are listed as inputs
        too, as IR versions below 4 require, are no inputs any more, and the IR version is at
        least 4.

    Why:
        A weight is found the same way wherever the exporter put it: every later pass asks only
        whether a tensor is stored. Some exporters write no initializer at all.

    Example:
        ``w = Constant<value = …>()  y = Conv(x, w)``  becomes  ``y = Conv(x, w)`` with the
        initializer ``w``.

    When it declines:
        The constant is itself an output of a graph (a branch has to compute its outputs); it
        holds strings or a sparse tensor, which no numerical pass reads.

    Numerics:
        Exact: the bits are moved.

    Source:
        ONNX operator specification, Constant; ONNX IR specification, initializers.
    """

    name: ClassVar[str] = "constants-to-initializers"
    stage: ClassVar[Stage] = Stage.CANONICALIZE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Convert every Constant node that can be, and defaults of inputs."""
        wished = model.header.ir_version >= OPTIONAL
        count = fix_defaults(model)
        if count and wished:
            ctx.journal.warn(f"{count} inputs have stored values; these are constants from here on")
        scope = Scope(model)
        for node in scope.sites("Constant"):
            result = node.outputs[0]
            if scope.is_output(result):
                ctx.decline(node, f"its value '{result.name}' is an output of a graph")
                continue
            constant = _stored(node, result.name)
            if isinstance(constant, str):
                ctx.decline(node, constant)
                continue
            scope.store(node, [constant])


def _stored(node: gs.Node, name: str) -> gs.Constant | str:
    for key, value in node.attrs.items():
        if key == "value" and isinstance(value, gs.Constant):
            # values that are not loaded yet stay on disk, and rare types keep theirs
            return gs.Constant(name, value._values, value.data_location, value._export_dtype)
        if key in _KINDS:
            array: NDArray[Any] = np.asarray(value, dtype=_KINDS[key])
            return gs.Constant(name, array)
    kinds = ", ".join(node.attrs) or "nothing"
    return f"it holds {kinds}, which is not a dense numeric tensor"
