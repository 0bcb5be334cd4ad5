"""hold-products: keep the runtime from making float layers of quantized products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers, producer
from onnxq.passes.emit._held import hold
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class HoldProducts(Pass):
    """Let a quantized MatMul be an integer kernel where an Add in float follows.

    What it does
        Between a MatMul of rank 2 that reads dequantized codes and the Add that alone reads its
        result stands a LeakyRelu of slope 1, which changes nothing.

    Why
        ONNX Runtime first makes one Gemm of MatMul and Add, and then has no kernel for a Gemm
        whose bias is in float: the product computes in float between Q and DQ. So it is in
        recurrent cells, which add the products of input and state.

    Example
        ``DQ, DQ → MatMul → Add(·, state)`` becomes ``DQ, DQ → MatMul → LeakyRelu → Add``, of which
        ONNX Runtime makes MatMulIntegerToFloat.

    When it declines
        The result is quantized, has another rank, or has more readers: no Gemm is made then.
        Other runtimes than ONNX Runtime do not need it.

    Numerics
        Exact: LeakyRelu with alpha = 1 is the identity.

    Source
        onnxruntime, matmul_add_fusion.cc; seen on optimized graphs of 1.31.
    """

    name: ClassVar[str] = "hold-products"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    def run(self, model: Model, ctx: Context) -> None:
        if not ctx.target.rounds_float_weights:
            return
        for node in list(model.nodes()):
            if node.op == "MatMul" and _fuses(model, node, ctx):
                hold(model, node)


def _fuses(model: Model, node: gs.Node, ctx: Context) -> bool:
    """Whether *node* reads codes, and a Gemm is made of it and the Add behind it."""
    sources = [producer(tensor) for tensor in node.inputs]
    if any(above is None or above.op != "DequantizeLinear" for above in sources):
        return False
    out = node.outputs[0]
    users = [user for user, _ in consumers(out)]
    alone = len(users) == 1 and users[0].op == "Add" and not model.is_output(out)
    return alone and ctx.rank(out) in (2, None)
