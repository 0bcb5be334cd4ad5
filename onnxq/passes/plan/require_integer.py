"""require-integer: stop where a target without floating point would be left with float nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx
import onnx_graphsurgeon as gs

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model, is_constant
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class RequireInteger(Pass):
    """Refuse models with nodes that the target cannot run.

    What it does
        Where the target has no floating point, looks for nodes that compute floats and are not
        planned as integer kernels. The first of them is named, with the reason and the remedy.

    Why
        There is nothing that such a node could run on. Better no file than one that the hardware
        cannot run.

    Example
        ``plan-kernels,require-integer``

    When it declines
        Targets that have floating point. Nodes that the user excluded run on the host, in front
        of the hardware or behind it, and computations on shapes are no computations on data.

    Numerics
        Changes nothing.

    Source
        This project's own rule.
    """

    name: ClassVar[str] = "require-integer"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        if ctx.target.integer is None:
            return
        absorbed = {name for p in ctx.plan.nodes.values() for name in p.absorbs}
        left = [
            node
            for node in model.graph.nodes
            if node.name not in ctx.plan.nodes
            and node.name not in absorbed
            and node.name not in ctx.plan.excluded
            and not all(is_constant(t) for t in node.inputs)
            and any(_is_float(t, ctx) for t in node.outputs)
        ]
        if not left:
            return
        first, more = left[0], f" ({len(left)} nodes in all)" if len(left) > 1 else ""
        raise UnsupportedModelError(
            f"'{first.name}' ({first.op}) cannot run on {ctx.target.name}{more}",
            why=ctx.plan.kept_float.get(first.name, f"no integer kernel for {first.op}"),
            hint=f"--exclude '{first.name}' leaves it in float, for the host",
        )


def _is_float(tensor: gs.Tensor, ctx: Context) -> bool:
    """Whether *tensor* holds floats, as far as is known."""
    fact = ctx.facts.get(tensor.name)
    if fact is not None:
        return fact.dtype in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    return bool(tensor.outputs or tensor.name) and not str(tensor.dtype).startswith(("int", "bool"))
