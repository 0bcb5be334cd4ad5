"""Which tensors of a quantized model are to be recognised, and which are copies of one another."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_graphsurgeon as gs

from onnxq.graph import consumers
from onnxq.report.relaxed import Relaxed
from onnxq.report.skeleton import ABSORBED, Skeleton

#: Operators whose output is their input under another name, codes aside.
COPIES = frozenset({"Identity", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear"})


def copies(graph: gs.Graph, skeleton: Skeleton) -> Iterator[tuple[str, str]]:
    """Names of input and output of each operator that copies an activation, in order."""
    for node in graph.nodes:
        if node.op in COPIES and not skeleton.constant(node.inputs[0]):
            yield node.inputs[0].name, node.outputs[0].name


def aliases(graph: gs.Graph, skeleton: Skeleton) -> dict[str, set[str]]:
    """By tensor name, the names under which its values appear on both sides of Q and DQ."""
    groups = {t.name: {t.name} for node in graph.nodes for t in node.outputs}
    for source, copy in copies(graph, skeleton):
        joined = groups.setdefault(source, {source})
        joined.add(copy)
        groups[copy] = joined
    return groups


def followers(graph: gs.Graph, skeleton: Skeleton) -> dict[str, str]:
    """The next tensor of its group, by the name of a tensor that has one.

    That is what an operator on single values (see ``skeleton``) makes of a tensor that nothing
    else reads, behind its saturation.
    """
    found = {}
    for node in graph.nodes:
        for tensor in node.outputs:
            users = {id(user): user for user, _ in consumers(tensor)}
            (user,) = users.values() if len(users) == 1 else (None,)
            if user is None or user.op not in ABSORBED or user.op in COPIES:
                continue
            if len({id(t) for t in skeleton.activations(user)}) == 1:
                behind = user.outputs[0]
                readers = [u for u, _ in consumers(behind)]
                if readers and all(u.op == "QuantizeLinear" for u in readers):
                    behind = readers[0].outputs[0]
                found[tensor.name] = behind.name
    return found


def wanted(graph: gs.Graph, skeleton: Skeleton, relaxed: Relaxed) -> list[str]:
    """Names of the activations to recognise, in order: no copies, each behind its saturation."""
    return [
        tensor.name
        for node in graph.nodes
        if _computes(node, relaxed)
        for tensor in node.outputs
        if tensor.name and not skeleton.constant(tensor) and not _saturates(tensor, relaxed)
    ]


def _computes(node: gs.Node, relaxed: Relaxed) -> bool:
    """Whether *node* is more than a copy: a saturation, or the end of codes that stayed codes."""
    if node.op == "QuantizeLinear":
        return node.outputs[0].name in relaxed.positions
    if node.op == "DequantizeLinear":
        return node.inputs[0].name not in relaxed.floats
    return node.op not in COPIES


def _saturates(tensor: gs.Tensor, relaxed: Relaxed) -> bool:
    """Whether a saturation is all that reads *tensor*."""
    users = [user for user, _ in consumers(tensor)]
    return bool(users) and all(
        u.op == "QuantizeLinear" and u.outputs[0].name in relaxed.positions for u in users
    )
