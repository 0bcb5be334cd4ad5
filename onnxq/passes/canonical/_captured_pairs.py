"""Fake quantization around a body, of what the body reads: the body gets its own.

To round twice is to round once, and then each body has in it all that training has rounded for it.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers, is_constant, producer, replace_input
from onnxq.passes._scope import Scope

_BEFORE = ("Clip", "Min", "Max", "QuantizeLinear")


def own_pairs(model: Model) -> None:
    """Copy into each body the DequantizeLinear that it reads, and the QuantizeLinear before."""
    scope = Scope(model)
    for last in list(scope.sites("DequantizeLinear")):
        real, home = last.outputs[0], scope.graph(last)
        chain = [last]
        while (above := producer(chain[0].inputs[0])) is not None and above.op in _BEFORE:
            chain.insert(0, above)
        copies: dict[int, gs.Tensor] = {}
        for user, index in consumers(real):
            inner = scope.graph(user)
            if inner is home:
                continue
            if id(inner) not in copies:
                copies[id(inner)] = _copied(scope, chain, user, real)
            replace_input(user, index, copies[id(inner)])
    model.drop_unused()
    model.sort()


def _copied(scope: Scope, chain: list[gs.Node], user: gs.Node, real: gs.Tensor) -> gs.Tensor:
    """The result of a copy of *chain* in the graph of *user*.

    It reads what is stored, or what the chain has rounded to *real*, which thereby stays rounded.
    """
    tensor = chain[0].inputs[0]
    if not is_constant(tensor):
        tensor = real
        if chain[0].op == "DequantizeLinear":  # of codes that come from elsewhere
            return real
    for node in chain:
        out = node.outputs[0]
        made = gs.Variable(scope.model.unique_name(f"{out.name}__own"), out.dtype, out.shape)
        name = scope.model.unique_name(f"{node.name or node.op}__own")
        scope.insert(user, node.op, [tensor, *node.inputs[1:]], [made], node.attrs, name=name)
        tensor = made
    return tensor
