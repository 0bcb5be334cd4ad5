"""The float model with the tensors whose channels the quantized model has scaled.

A tensor x that the quantized model holds as a · x is computed as such on the way to its readers:

    … → x            becomes            … → own x → Mul(a) → scaled x → Mul(1 / a) → x → …

The same function, and both tensors are there to be measured. All that reads x reads what went
through the scaled one, so that rounding that one shows at the outputs. Where the quantized model
takes the factors off for some readers alone (the gate of a SiLU), and rounds what these read, they
have a Mul(1 / a) of their own here too.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, consumers, insert_node, producer, replace_input
from onnxq.report.pair import Pair
from onnxq.report.recognised import Matching
from onnxq.report.reductions import PREFIX

#: Beginning of the names of the nodes that scale, and of those that scale back.
SCALE, UNSCALE = f"{PREFIX}scale__", f"{PREFIX}unscale__"


def equalized(pair: Pair, matching: Matching) -> tuple[Model, dict[str, str]]:
    """The float model of *pair* with the scaled tensors, and which tensor of it is which.

    The latter by tensor of the quantized model. It is the float model itself where nothing is
    scaled; that stays as it is.
    """
    names = dict(matching.tensors)
    if not matching.factors:
        return pair.original, names
    model = pair.original.clone()
    tensors = model.tensors()
    made: dict[tuple[str, bytes], str] = {}
    scaled: dict[str, str] = {}
    for name, factors in matching.factors.items():
        real = matching.tensors[name]
        key = real, factors.tobytes()
        if key not in made:
            made[key] = scaled[real] = _scale(model, tensors[real], factors)
        names[name] = made[key]
    there = pair.qdq.tensors()
    gates: dict[str, list[str]] = {}
    for name, real in matching.tensors.items():
        if real in scaled and name not in matching.factors:
            gates.setdefault(real, []).append(name)
    for real, own in gates.items():
        readers = [u for name in own for u, _ in consumers(there[name])]
        results = {matching.tensors.get(t.name) for node in readers for t in node.outputs}
        result = _branch(model, tensors[real], results - {real, None})
        names |= dict.fromkeys(own, result)
    model.sort()
    return model, names


def _branch(model: Model, tensor: gs.Tensor, results: AbstractSet[str | None]) -> str:
    """Let what computes *results* read *tensor*, unscaled, in a copy of its own; its name."""
    readers = [
        (user, i) for user, i in consumers(tensor) if any(t.name in results for t in user.outputs)
    ]
    if not readers or len(readers) == len(consumers(tensor)):
        return str(tensor.name)
    back = producer(tensor)
    assert back is not None
    copy = gs.Variable(model.unique_name(f"{tensor.name}__unscaled"), tensor.dtype, tensor.shape)
    name = model.unique_name(f"{UNSCALE}{copy.name}")
    insert_node(model, "Mul", list(back.inputs), [copy], name=name)
    for user, i in readers:
        replace_input(user, i, copy)
    return str(copy.name)


def _scale(model: Model, tensor: gs.Tensor, factors: NDArray[np.generic]) -> str:
    """Let *tensor* come from a scaled one; the name of that."""
    node = producer(tensor)
    assert node is not None  # inputs of the model are never scaled
    slot = next(i for i, t in enumerate(node.outputs) if t is tensor)
    own, scaled = (
        gs.Variable(model.unique_name(f"{tensor.name}__{kind}"), tensor.dtype, tensor.shape)
        for kind in ("own", "scaled")
    )
    node.outputs[slot] = own
    inverse = np.asarray(1 / factors.astype(np.float64)).astype(factors.dtype)
    for source, by, result, prefix in (
        (own, factors, scaled, SCALE), (scaled, inverse, tensor, UNSCALE)
    ):  # fmt: skip
        name = model.unique_name(f"{prefix}{tensor.name}")
        insert_node(model, "Mul", [source, gs.Constant(f"{name}__k", by)], [result], name=name)
    return str(scaled.name)
