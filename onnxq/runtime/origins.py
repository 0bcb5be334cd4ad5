"""Which node of a model a node of the optimized graph was made from, told from names."""

from __future__ import annotations

import re

import onnx

#: Layout changes (NHWC) name a node anew, with a number behind the old name.
_TOKEN = re.compile(r"_token_\d+$")
#: A Gemm made of MatMul and Add has the MatMul's name, a Gemm with its activation the Gemm's.
_GEMM, _FUSED = "/MatMulAddFusion", "fused "
#: Blocked layout (NCHWc) names a node after the tensor that it computed before.
_BLOCKED = "_nchwc"
#: Where Q/DQ were moved across a node, the tensor before them has another name.
_BEFORE = "_pre_q"
#: What the optimizer adds; it computes no tensor of the model.
_ADDED = frozenset({
    "Cast", "DequantizeLinear", "QuantizeLinear", "ReorderInput", "ReorderOutput", "Transpose",
})  # fmt: skip


def origins(model: onnx.GraphProto, optimized: onnx.GraphProto) -> dict[str, str]:
    """By the names of the nodes of *optimized*, those of the nodes of *model* they were made from.

    A node that has kept its name, or a name made from it, is found by that; one under a new name by
    the tensor that it computes, where nothing else stands for the node that computed it. What the
    optimizer has added is not in the result.
    """
    names = {n.name for n in model.node}
    found: dict[str, str] = {}
    for node in optimized.node:
        for name in _candidates(node.name):
            if name in names:
                found[node.name] = name
                break
    taken = set(found.values())
    makers = {o: n.name for n in model.node for o in n.output if o}
    for node in optimized.node:
        if node.name in found:
            continue
        tensors = [_TOKEN.sub("", node.name).removesuffix(_BLOCKED)]
        if node.op_type not in _ADDED:
            tensors += node.output
        tensors = [t.removesuffix(_BEFORE) for t in tensors]
        maker = next((makers[t] for t in tensors if t in makers), None)
        if maker is not None and maker not in taken:
            found[node.name] = maker
            taken.add(maker)
    return found


def _candidates(name: str) -> list[str]:
    plain = _TOKEN.sub("", name)
    found = [name, plain, plain.removesuffix(_GEMM)]
    return found + [n.removeprefix(_FUSED) for n in found if n.startswith(_FUSED)]
