"""The pass ``hardswish-to-mul``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute
from onnxq.passes._scope import Scope
from onnxq.passes._types import element_type
from onnxq.passes.fuse._integers import Neighbours, main_nodes
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.groups import Group
from onnxq.targets import Target


@dataclass(frozen=True, kw_only=True)
class HardSwishToMul(Pass):
    """Write HardSwish and HardSigmoid between integer layers as sums and products.

    What it does:
        HardSwish, as an operator or as a group that was recognised, and HardSigmoid become::

            HardSigmoid(x; α, β)  =  α · clip(x + β / α, 0, 1 / α)
            HardSwish(x)          =  1/6 · x · clip(x + 3, 0, 6)

        The product that x enters keeps the name of the operator, or of the last node of the group.

    Why:
        ONNX Runtime has integer kernels for Add and Mul, and none for these two; each would cost
        two conversions and a float kernel. The Clip is the range of the quantized sum, so that it
        costs nothing. The product with α changes the scale and not the codes; behind HardSwish it
        is the last node, so that 'fuse-affine' can move it into the weights of the layer that
        follows. Networks of the MobileNetV3 family have one of the two behind most layers.

    Example:
        ``HardSwish(x)``  becomes  ``Mul(Mul(x, Clip(Add(x, 3), 0, 6)), 1/6)``.

    When it declines:
        There is no integer layer with weights both before and behind it; its input is not float32,
        or is the result of a Gemm or MatMul, which stays in float where a constant is added; the
        model is below opset 11; α is not positive, or β is negative. Where the target has no
        integer kernel of Add and Mul, has one of the operator, or keeps the Clip in the graph, the
        pass does nothing.

    Numerics:
        The same function; the order of the operations differs. Quantized, the factor of x is in
        steps of 1/255.

    Source:
        ONNX operator specifications, HardSwish and HardSigmoid; Howard et al., Searching for
        MobileNetV3 (2019), section 5.2.
    """

    name: ClassVar[str] = "hardswish-to-mul"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 1e-5

    def run(self, model: Model, ctx: Context) -> None:
        """Rewrite every one of them that lies between integer layers."""
        operators = [op for op in ("HardSwish", "HardSigmoid") if _pays(ctx.target, op)]
        if not operators:
            return
        scope = Scope(model)
        groups = {g.nodes[-1]: g for g in ctx.groups if g.kind == "hardswish"}
        groups = groups if "HardSwish" in operators else {}
        inside = {name for group in ctx.groups for name in group.nodes}
        near = Neighbours(scope, ctx, {n for g in groups.values() for n in g.nodes}, (*operators,))
        for node in main_nodes(scope):
            group = groups.get(node.name)
            if group is None and (node.op not in operators or node.name in inside):
                continue
            cone = _cone(scope, group, node)
            x = node.inputs[0] if group is None else model.tensors()[group.input]
            reason = _why_not(near, x, node, cone)
            if reason:
                ctx.decline(node, reason)
                continue
            _rewrite(scope, node, x, cone, ctx)
            ctx.groups[:] = [g for g in ctx.groups if g is not group]


def _pays(target: Target, op: str) -> bool:
    rules = target.rules
    pieces = "Add" in rules and "Mul" in rules and "Clip" in rules["Add"].absorbs
    return pieces and target.removes_absorbed and op not in rules


def _cone(scope: Scope, group: Group | None, node: gs.Node) -> list[gs.Node]:
    """The nodes that go; *node*, which computes the result, is the last one."""
    if group is None:
        return [node]
    named = {n.name: n for n in scope.graph(node).nodes}
    return [named[name] for name in group.nodes]


def _slopes(node: gs.Node, cone: list[gs.Node]) -> tuple[float, float]:
    """α and β of the factor that *node* computes or multiplies with."""
    if node.op != "HardSigmoid" or len(cone) > 1:
        return 1 / 6, 0.5
    return float(attribute(node, "alpha", 0.2)), float(attribute(node, "beta", 0.5))


def _why_not(near: Neighbours, x: gs.Tensor, node: gs.Node, cone: list[gs.Node]) -> str:
    alpha, beta = _slopes(node, cone)
    if alpha <= 0 or beta < 0:
        return f"its slope is {alpha:g} and its offset {beta:g}"
    if near.scope.model.opset < 11:
        return "the bounds of Clip are inputs only from opset 11; try 'raise-opset' first"
    if element_type(x, near.ctx) != onnx.TensorProto.FLOAT:
        return f"'{x.name}' is not known to be float32"
    source = near.source(x)
    if source is None:
        return f"what computes '{x.name}' does not run on integers"
    if source.float_output:
        return f"'{x.name}' is a product that stays in float where a constant is added"
    if not near.before(x) or not near.behind(node.outputs[0]):
        return "no integer layer with weights both before and behind it"
    return ""


def _rewrite(scope: Scope, node: gs.Node, x: gs.Tensor, cone: list[gs.Node], ctx: Context) -> None:
    alpha, beta = _slopes(node, cone)
    gates = node.op == "HardSigmoid" and len(cone) == 1
    result, base = node.outputs[0], node.name or node.op
    unique = scope.model.unique_name

    def constant(what: str, value: float) -> gs.Constant:
        return gs.Constant(unique(f"{base}__{what}"), np.asarray(value, dtype=np.float32))

    def variable(what: str) -> gs.Variable:
        new = gs.Variable(unique(f"{base}__{what}"), np.float32, x.shape)
        if x.name in ctx.facts:
            ctx.facts[new.name] = ctx.facts[x.name]
        return new

    total, kept = variable("sum"), variable("clipped")
    limits = [constant("low", 0.0), constant("high", 1 / alpha)]
    add = scope.insert(
        node, "Add", [x, constant("offset", beta / alpha)], [total], name=unique(f"{base}__add")
    )
    scope.insert(node, "Clip", [total, *limits], [kept], name=unique(f"{base}__clip"))
    for old in cone:
        scope.remove(old)
    if gates:
        scope.insert(add, "Mul", [kept, constant("slope", alpha)], [result], name=base)
        return
    product = variable("product")
    scope.insert(add, "Mul", [x, kept], [product], name=base)
    name = unique(f"{base}__scale")
    scope.insert(add, "Mul", [product, constant("slope", alpha)], [result], name=name)
