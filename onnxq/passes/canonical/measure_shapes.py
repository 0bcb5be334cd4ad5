"""measure-shapes: learn types and shapes from a run, where a run is possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxq.graph import Model
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class MeasureShapes(Pass):
    """Learn the type and shape of every tensor from one run on a sample.

    What it does
        Runs the model once on the first sample and notes the element type and shape of each
        tensor, for the passes behind it. Does nothing where all tensors are known already.

    Why
        Symbolic shape inference fails on many real models; a run knows every shape.

    Example
        ``measure-shapes,fuse-batchnorm,measure-shapes,plan-kernels``

    When it declines
        Without data: shapes are then those that the file states or that follow from them.

    Numerics
        Changes nothing.

    Source
        Requests by users whose models fail in symbolic shape inference.
    """

    name: ClassVar[str] = "measure-shapes"
    stage: ClassVar[Stage] = Stage.CANONICALIZE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        unknown = ctx.learn(model)
        if unknown and ctx.probe is None:
            ctx.decline("model", f"no data: {len(unknown)} tensors are as the file states them")
