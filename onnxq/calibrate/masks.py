"""Inputs that only mask: added in front of a Softmax, where minus infinity is like other values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers
from onnxq.runtime.session import InputInfo

_ON = frozenset({
    "Add", "Cast", "Concat", "Expand", "Identity", "Reshape", "Slice", "Squeeze", "Transpose",
    "Unsqueeze", "Where",
})  # fmt: skip
"""What leaves a masked score masked."""
_ENDS = frozenset({"Softmax", "LogSoftmax"})
_ATTENTION = {"Attention": 3, "MultiHeadAttention": 5}
"""Operators with an input for masks."""


def with_masks(inputs: Sequence[InputInfo], model: Model) -> list[InputInfo]:
    """*inputs* of *model*, those marked that only mask."""
    named = {t.name: t for t in model.graph.inputs}
    return [replace(i, mask=i.name in named and _masks(model, named[i.name])) for i in inputs]


def _masks(model: Model, tensor: gs.Tensor) -> bool:
    """Whether all that is computed of *tensor* goes into the scores of a Softmax."""
    waiting, seen = [tensor], {id(tensor)}
    reached = False
    while waiting:
        now = waiting.pop()
        if model.is_output(now):
            return False
        for node, index in consumers(now):
            if node.op in _ENDS or _ATTENTION.get(node.op) == index:
                reached = True
            elif node.op not in _ON:
                return False
            else:
                more = [t for t in node.outputs if id(t) not in seen]
                seen.update(map(id, more))
                waiting += more
    return reached
