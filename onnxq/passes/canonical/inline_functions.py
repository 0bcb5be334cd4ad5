"""The pass ``inline-functions``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxq.graph import Model
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class InlineFunctions(Pass):
    """Replace calls of the model's own functions by the nodes they stand for.

    What it does:
        Every call of a local function, nested ones included, becomes a copy of the function's
        body, and the functions are dropped. ONNX's inliner does it; opset versions of a function
        that differ from the model's are converted by it.

    Why:
        Exporters wrap whole modules in functions. A node inside of a function cannot be quantized
        for one call and left alone for another.

    Example:
        ``y = my.Linear(x, w, b)``  becomes  ``t = MatMul(x, w)  y = Add(t, b)``.

    When it declines:
        Never: functions that ONNX ships (such as LayerNormalization) are operators and stay.

    Numerics:
        Exact.

    Source:
        ONNX IR specification, model-local functions; ``onnx.inliner``.
    """

    name: ClassVar[str] = "inline-functions"
    stage: ClassVar[Stage] = Stage.CANONICALIZE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Inline where the model has functions."""
        model.inline_functions()
