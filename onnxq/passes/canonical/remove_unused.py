"""The pass ``remove-unused``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers, remove_node
from onnxq.passes._scope import Scope, is_standard
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class RemoveUnused(Pass):
    """Remove what no output depends on.

    What it does:
        Takes away nodes none of whose outputs is read or given out, upwards until nothing is
        left, in sub-graphs too; and optional last outputs that nothing reads (the indices of a
        MaxPool, the mask of a Dropout). Constants that no node reads are dropped.

    Why:
        Dead nodes cost time and hide patterns: a tensor with a dead second reader cannot be
        fused. A MaxPool that gives indices has no integer kernel.

    Example:
        ``a = Relu(x)  b = Neg(x)`` with the output ``a``  becomes  ``a = Relu(x)``.

    When it declines:
        Never. Inputs of the model stay even where nothing reads them, since callers feed them.

    Numerics:
        Exact: what remains is not changed.

    Source:
        ONNX IR specification: a graph's nodes have no side effects.
    """

    name: ClassVar[str] = "remove-unused"
    stage: ClassVar[Stage] = Stage.CANONICALIZE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Remove dead nodes, then unread optional outputs."""
        scope = Scope(model)
        waiting = [n for g in scope.graphs for n in g.nodes]
        while waiting:
            node = waiting.pop()
            if not node.outputs or not _dead(scope, node):
                continue
            sources = [t for t in node.inputs if t.name]
            for graph in node.subgraphs(recursive=True):  # captured tensors lose readers as well
                sources += [t for n in graph.nodes for t in n.inputs if t.name]
            remove_node(model, node)
            waiting += [p for t in sources for p in t.inputs]
        scope = Scope(model)
        for node in scope.sites():
            _trim(scope, node)
        model.drop_unused()


def _dead(scope: Scope, node: gs.Node) -> bool:
    return not any(consumers(t) or scope.is_output(t) for t in node.outputs if t.name)


def _trim(scope: Scope, node: gs.Node) -> None:
    if len(node.outputs) < 2 or node.op == "BatchNormalization" or not is_standard(node):
        return  # a BatchNormalization's extra outputs turn training on
    try:
        formal = onnx.defs.get_schema(node.op, scope.model.opset, "").outputs
    except onnx.defs.SchemaError:
        return
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    while len(node.outputs) > 1 and len(node.outputs) <= len(formal):
        last = node.outputs[-1]
        if formal[len(node.outputs) - 1].option != optional:
            return
        if last.name and (consumers(last) or scope.is_output(last)):
            return
        del node.outputs[-1]
