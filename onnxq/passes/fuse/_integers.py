"""Whether a tensor lies between layers with weights that run on integers.

A cheap look ahead at what planning will find: from a tensor through nodes that can become integer
kernels, and through the activations that they absorb, to a Conv, Gemm or MatMul.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_graphsurgeon as gs

from onnxq.graph import consumers
from onnxq.passes._scope import Scope
from onnxq.pipeline import Context
from onnxq.pipeline.eligibility import clamp, why_not
from onnxq.targets import OpRule, Role

_STEPS = 64


class Neighbours:
    """Answers where integers come from and go to, for one pass.

    *through* holds names of nodes, and *ops* names of operators, that the pass is about to make
    integer kernels of.
    """

    def __init__(
        self, scope: Scope, ctx: Context, through: set[str] | None = None, ops: tuple[str, ...] = ()
    ) -> None:
        self.scope, self.ctx = scope, ctx
        self.through, self.ops = through or set(), ops

    def rule(self, node: gs.Node | None) -> OpRule | None:
        """The rule of *node*; None where it cannot be an integer kernel."""
        rule = None if node is None else self.ctx.target.rules.get(node.op)
        if rule is None or why_not(node, rule, self.scope.model, self.ctx) is not None:
            return None
        return rule

    def source(self, tensor: gs.Tensor) -> OpRule | None:
        """The rule of the kernel that computes *tensor*, with an activation that it absorbs."""
        node = tensor.inputs[0] if tensor.inputs else None
        if node is not None and self._absorbed(node):
            return self.rule(self.scope.above(node))
        return self.rule(node)

    def before(self, tensor: gs.Tensor) -> bool:
        """Whether integers come to *tensor* from a layer with weights."""
        waiting, seen = [tensor], {id(tensor)}
        while waiting and len(seen) < _STEPS:
            node = next(iter(waiting.pop().inputs), None)
            if node is None:
                continue
            rule = self.rule(node)
            if rule is not None and rule.role is Role.COMPUTE:
                return True
            if rule is not None or self._absorbed(node):
                fresh = [t for t in node.inputs if id(t) not in seen]
                seen.update(map(id, fresh))
                waiting += fresh
        return False

    def behind(self, tensor: gs.Tensor) -> bool:
        """Whether integers get from *tensor* to a layer with weights."""
        waiting, seen = [tensor], {id(tensor)}
        while waiting and len(seen) < _STEPS:
            for node, index in consumers(waiting.pop()):
                rule = self.rule(node)
                if rule is not None and rule.activations is not None:
                    if index not in rule.activations:
                        continue
                    if rule.role is Role.COMPUTE:
                        return True
                if rule is not None or self._absorbed(node) or self._planned(node):
                    fresh = [t for t in node.outputs if id(t) not in seen]
                    seen.update(map(id, fresh))
                    waiting += fresh
        return False

    def _planned(self, node: gs.Node) -> bool:
        return node.name in self.through or node.op in self.ops

    def _absorbed(self, node: gs.Node) -> bool:
        """Whether the kernel in front of *node* takes it in, or the pass makes both kernels."""
        above = self.scope.above(node) if node.op in ("Relu", "Clip") else None
        if above is None or not self.scope.only_use(node.inputs[0]) or clamp(node) is None:
            return False
        rule = self.rule(above)
        return rule is not None and node.op in rule.absorbs


def main_nodes(scope: Scope, *ops: str) -> Iterator[gs.Node]:
    """Nodes of type *ops* of the main graph, the one that is planned."""
    main = scope.model.graph
    return (node for node in scope.sites(*ops) if scope.graph(node) is main)
