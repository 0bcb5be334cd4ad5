"""keep-gated-depthwise: leave depthwise convolutions beside gates in floating point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model, constant_value, consumers, is_constant, producer
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.kernel_plan import plan_kernels
from onnxq.pipeline.macs import macs

_GATING = ("Sigmoid", "HardSigmoid", "Clip", "Relu", "Add", "Mul")
"""What computes a gate f(x) from x: one of these, or a chain of them."""


@dataclass(frozen=True, kw_only=True)
class KeepGatedDepthwise(Pass):
    """Leave depthwise convolutions beside gates in float, where they are a small part of the work.

    What it does
        A gate is a product x · f(x): SiLU, HardSwish. Finds the planned depthwise Convs that read
        the result of a gate, or whose result a gate reads, and keeps them in float, those with the
        least work first, up to ``percent`` of all multiply-accumulates. The gates between them and
        their neighbours then stay in float by themselves: nothing integer is left on one side.

    Why
        In integers each gate rounds three tensors to 8 bits, x, f(x) and x · f(x), and a depthwise
        layer has one on either side: six roundings for a few percent of the work, in a place
        where sums over nine values average little of them out. Behind 'equalize-silu', which puts a
        product in front of each gate, the integer kernels of the gates cost about what the integer
        kernel of the convolution gains; without it, integer gates are faster.

    Example
        ``keep-gated-depthwise{percent=5}``

    When it declines
        Convs that would exceed ``percent`` stay integer. Behind Relu or Clip, which cost no
        rounding of their own, depthwise Convs always do. Targets without floating point: there is
        no choice.

    Numerics
        Changes nothing by itself.

    Source
        Sheng et al. 2018, "A Quantization-Friendly Separable Convolution for MobileNets", on where
        separable layers lose accuracy; the rule is this project's own, from yolox_nano, whose score
        errors fall by a quarter; it takes as long within 3 % as with all of them in integers, on
        one thread with VNNI and with AVX2 alone.

    Attributes:
        percent: most of the multiply-accumulates, in percent, that may stay in float this way.
    """

    name: ClassVar[str] = "keep-gated-depthwise"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    percent: float = 5.0

    def run(self, model: Model, ctx: Context) -> None:
        if ctx.target.integer is not None:
            return
        gated = [node for node in model.graph.nodes if _is_gated(node, ctx)]
        work = {id(node): macs(node, ctx) or 0 for node in model.graph.nodes}
        total = sum(work.values())
        if not gated or not total:
            return
        spent, kept = 0.0, []
        for node in sorted(gated, key=lambda node: work[id(node)]):
            share = 100.0 * work[id(node)] / total
            if spent + share > self.percent:
                ctx.decline(
                    node,
                    f"depthwise convolutions beside gates are more than {self.percent:g} % of the "
                    "work: this one stays integer",
                )
                continue
            spent += share
            kept.append(node)
        for node in kept:
            ctx.plan.excluded[node.name] = (
                f"depthwise convolution beside a gate: six roundings to 8 bits each, for "
                f"{spent:.2g} % of the work in all"
            )
        plan_kernels(model, ctx)


def _is_gated(node: gs.Node, ctx: Context) -> bool:
    """Whether *node* is a planned depthwise Conv beside a gate."""
    if node.op != "Conv" or node.name not in ctx.plan.nodes or not is_constant(node.inputs[1]):
        return False
    weight = constant_value(node.inputs[1])
    groups = node.attrs.get("group", 1)
    if weight is None or groups == 1 or weight.shape[1] != 1:
        return False
    before = producer(node.inputs[0])
    behind = [user for user, _ in consumers(node.outputs[0])]
    return (before is not None and _is_gate(before)) or any(
        user.op == "Mul" and _is_gate(user) for user in behind
    )


def _is_gate(node: gs.Node) -> bool:
    """Whether *node* is the last one of x · f(x), or of x · f(x) times a constant."""
    if node.op == "HardSwish":
        return True
    if node.op != "Mul":
        return False
    varying = [t for t in node.inputs if not is_constant(t)]
    if len(varying) == 1:
        inner = producer(varying[0])
        return inner is not None and inner.op == "Mul" and _is_gate(inner)
    return _comes_from(varying[0], varying[1]) or _comes_from(varying[1], varying[0])


def _comes_from(tensor: gs.Tensor, source: gs.Tensor) -> bool:
    """Whether *tensor* is computed from *source* alone, by operators that gates are made of."""
    while tensor is not source:
        node = producer(tensor)
        if node is None or node.op not in _GATING:
            return False
        varying = [t for t in node.inputs if not t.is_empty() and not is_constant(t)]
        if len(varying) != 1:
            return False
        tensor = varying[0]
    return True
