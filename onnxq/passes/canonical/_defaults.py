"""Initializers that are inputs too: defaults that a caller may replace.

Before IR version 4 every initializer had to be listed as an input, so that the list says nothing;
from then on it is a wish.
"""

from __future__ import annotations

from onnxq.graph import Model

OPTIONAL = 4
"""The first IR version in which an initializer need not be an input."""


def fix_defaults(model: Model) -> int:
    """Take initializers off the lists of inputs, raise the IR version so far; how many of them."""
    count = 0
    for graph in model.graphs():
        kept = model.carried.graphs.get(model.uid(graph))
        if kept is not None:
            fed = {model.uid(t) for t in graph.inputs}
            count += sum(i not in fed for i in kept.inputs)
            kept.inputs = [i for i in kept.inputs if i in fed]
    if count:
        raise_ir(model, OPTIONAL)
    return count


def raise_ir(model: Model, least: int) -> None:
    """Let the IR version of *model* be at least *least*."""
    model.header.ir_version = max(model.header.ir_version, least)
    model.graph.ir_version = model.header.ir_version
