"""The pass ``fuse-affine``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute, consumers, is_constant
from onnxq.passes._scope import Scope, is_standard
from onnxq.passes.fuse._affine import OPS, Affine, affine, per_channel
from onnxq.passes.fuse._linear import LINEAR, fold_after, fold_before, leaves_codes, linear
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class FuseAffine(Pass):
    """Fold Mul, Add, Sub and Div by constants into a neighbouring linear node.

    What it does:
        With a constant for each channel (or one for all) ``a`` or ``b``, behind a Conv,
        ConvTranspose, Gemm or MatMul::

            a·(W ⊛ x + c) + b  =  (a·W) ⊛ x + (a·c + b)

        and before one::

            W ⊛ (a·x + b) + c  =  (W·a) ⊛ x + (c + W ⊛ b)

        Div is multiplication by 1/a, ``x − b`` a shift by −b, ``b − x`` a factor of −1 and a
        shift. A shift behind a MatMul stays an Add, which is how a MatMul carries its bias; one
        that comes from before makes it a Gemm where its input is a matrix.

    Why:
        Scaling layers, biases that were exported apart and inputs that are normalized inside of
        the model cost a float node each, and keep the linear node from its integer kernel.

    Example:
        ``Mul(x, 1/255) → Conv(w, b)``  becomes  ``Conv(x, w/255, b)``.

    When it declines:
        The constant varies along another axis than the channels, or widens the tensor; the tensor
        between is read elsewhere or is an output of the graph; the weight or bias is computed; a
        shift before a Conv that pads or before a ConvTranspose; a result beyond the range of the
        weight's type; factors of input channels where the weight's codes are those of training.
        A weight shared with another node is copied for this one.

    Numerics:
        Computed in float64, rounded once to the type of the weight. In float16 models the folded
        weight is float16: expect 1e-3 there instead of 1e-5.

    Source:
        Linearity of the convolution and of the matrix product.
    """

    name: ClassVar[str] = "fuse-affine"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 1e-5

    def run(self, model: Model, ctx: Context) -> None:
        """Fold every constant factor and shift that can be, backward first."""
        scope = Scope(model)
        for node in scope.sites(*OPS):
            found = affine(node)
            if found is None:
                continue
            behind = _behind(scope, node, found, ctx)
            if behind == "":
                continue
            before = _before(scope, node, found, ctx)
            reason = "; ".join(r for r in (behind, before) if r)
            if before != "" and reason:
                ctx.decline(node, reason)


def _is_linear(node: gs.Node) -> bool:
    """Whether *node* has a weight: the product of two activations has none."""
    if node.op not in LINEAR or not is_standard(node):
        return False
    return node.op != "MatMul" or is_constant(node.inputs[1])


def _behind(scope: Scope, node: gs.Node, found: Affine, ctx: Context) -> str | None:
    """Fold into the linear node above: "" when done, a reason, None where there is none."""
    above = scope.above(node, found.index)
    if above is None or not _is_linear(above):
        return None
    if above.op == "MatMul" and found.shift.any():
        return None
    between = node.inputs[found.index]
    others = scope.others(between, node)
    if others:
        return f"'{between.name}' between '{above.name}' and it is {others}"
    at = linear(above)
    if isinstance(at, str):
        return f"'{above.name}' before it: {at}"
    rank = ctx.rank(between) if above.op == "MatMul" else at.weight.ndim
    rank = (1 if max(found.factor.ndim, found.shift.ndim) <= 1 else 0) if rank is None else rank
    axis = 1 if above.op in {"Conv", "ConvTranspose"} else rank - 1
    factor, shift = (
        per_channel(v, rank, axis, at.channels_out) for v in (found.factor, found.shift)
    )
    if factor is None or shift is None:
        return f"its constant does not vary along the output channels of '{above.name}' alone"
    return fold_after(scope, at, node, factor, shift)


def _before(scope: Scope, node: gs.Node, found: Affine, ctx: Context) -> str | None:
    """Fold into the linear node below: "" when done, a reason, None where there is none."""
    users = consumers(node.outputs[0])
    if not users or users[0][1] != 0 or not _is_linear(users[0][0]):
        return None
    below = users[0][0]
    if scope.graph(below) is not scope.graph(node):
        return None
    if not scope.only_use(node.outputs[0]):
        others = scope.others(node.outputs[0], below) or "read twice"
        return f"'{node.outputs[0].name}' between it and '{below.name}' is {others}"
    at = linear(below)
    if isinstance(at, str):
        return f"'{below.name}' behind it: {at}"
    shape = ctx.shape(node.inputs[found.index])
    if shape is None:
        return f"the shape of '{node.inputs[found.index].name}' is not known"
    axis = 1 if below.op in {"Conv", "ConvTranspose", "Gemm"} else len(shape) - 1
    if attribute(below, "transA", 0):
        axis = 0
    channels = at.channels_in
    constants = (found.factor, found.shift)
    if len(shape) <= axis or (shape[axis] != channels and any(c.size > 1 for c in constants)):
        return f"its constant widens '{node.inputs[found.index].name}'"
    factor, shift = (per_channel(c, len(shape), axis, channels) for c in constants)
    if factor is None or shift is None:
        return f"its constant does not vary along the input channels of '{below.name}' alone"
    blocked = scope.cannot_bypass(node, found.index) or leaves_codes(below, factor, ctx)
    if blocked:
        return blocked
    reason = fold_before(scope, at, factor, shift, rank=len(shape))
    return reason or scope.bypass(node, found.index)
