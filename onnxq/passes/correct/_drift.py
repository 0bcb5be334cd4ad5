"""The mean drift of every biased layer, taken off in the run: the graph that measures it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import consumers, producer
from onnxq.graph.header import default_opset
from onnxq.passes.correct._writer import Writer
from onnxq.pipeline.eligibility import clamp

FLOAT, ERROR, WEIGHT = (f"onnxq_{part}__" for part in ("float", "error", "weight"))
NOTHING = 1e-30
_PLACES = 784
"""Of each sample and channel, about how many values are looked at: whole rows, evenly spread."""
_FAR = 4.0
"""Times the mean size of a channel's errors, the most that one of them counts."""
_STEPS = 10
"""From this opset on Slice has steps."""
LEAST = 1e-4
"""Added to the mean weight of a channel: one that hardly ever opens is hardly corrected."""


@dataclass(frozen=True)
class Biased:
    """The node that adds a bias, the constant, the channel axis and the shape of what it writes."""

    node: gs.Node
    bias: gs.Constant
    axis: int
    shape: tuple[int | None, ...]

    @property
    def rank(self) -> int:
        """Rank of what it writes."""
        return len(self.shape)

    def rows(self) -> tuple[int, int] | None:
        """The axis of which each k-th index is enough, and k; None where all are looked at."""
        axes = [i for i in range(1, self.rank) if i != self.axis]
        sizes = {i: self.shape[i] or 0 for i in axes}
        longest = max(axes, key=lambda i: sizes[i], default=0)
        step = int(np.prod([*sizes.values()])) // _PLACES if axes else 1
        step = min(step, -(-sizes.get(longest, 0) // 4))
        return (longest, step) if step > 1 else None


def take_off(joined: onnx.ModelProto, layers: Mapping[str, Biased]) -> set[str]:
    """Behind each node of *layers* take off its mean difference from its float twin, in place.

    *joined* has the float nodes first, their names behind ``FLOAT``. Of the layer NAME the tensor
    ``ERROR + NAME`` is the weighted mean difference by channel and ``WEIGHT + NAME`` the mean
    weight, over rows that are looked at; names of layers without weights, whose mean is plain, are
    returned.
    """
    opset = default_opset(joined)
    graph, plain = joined.graph, set()
    nodes = list(graph.node)
    written = {n.name: n.output[0] for n in nodes}
    del graph.node[:]
    for node in nodes:
        graph.node.append(node)
        layer = layers.get(node.name)
        if layer is None:
            continue
        out, raw, twin = node.output[0], f"{node.output[0]}__drifted", written[FLOAT + node.name]
        graph.node[-1].output[0] = raw
        write = Writer(graph, f"onnxq_drift__{node.name}__", opset)
        axes = [i for i in range(layer.rank) if i != layer.axis]
        write.rows = layer.rows() if opset >= _STEPS else None
        some = write.some(twin)
        difference = _typical(write, write.some(raw), some, axes)
        weight = _weight(write, layer.node, some)
        if weight is None:
            plain.add(node.name)
            drift = write.mean(difference, axes, ERROR + node.name)
        else:
            error = write.mean(write("Mul", [difference, weight]), axes, ERROR + node.name)
            seen = write.mean(weight, axes, WEIGHT + node.name)
            drift = write("Div", [error, write("Add", [seen, write.constant(LEAST)])])
        write("Sub", [raw, drift], out)
    return plain


def hold(joined: onnx.ModelProto, names: Collection[str]) -> None:
    """Put an Add of next to nothing behind the nodes *names*, in place.

    ONNX Runtime rounds the constant weights of a layer between DequantizeLinear and QuantizeLinear
    to int8 on a scale of its own, one for the tensor (WeightBiasQuantization); behind an Add it
    does not. Layers whose drift is taken off need none.
    """
    opset = default_opset(joined)
    nodes = list(joined.graph.node)
    del joined.graph.node[:]
    for node in nodes:
        joined.graph.node.append(node)
        if node.name in names:
            write = Writer(joined.graph, f"onnxq_hold__{node.name}__", opset)
            out, raw = node.output[0], f"{node.output[0]}__held"
            joined.graph.node[-1].output[0] = raw
            write("Add", [raw, write.constant(NOTHING)], out)


def _typical(write: Writer, raw: str, twin: str, axes: list[int]) -> str:
    """*raw* − *twin*, what is off by far more than most of its channel cut to a limit.

    A few values clipped at the end of a range are off by many codes; the mean would shift all
    others to make up for them. (Huber 1964, "Robust Estimation of a Location Parameter".)
    """
    difference = write("Sub", [raw, twin])
    size = write.mean(write("Abs", [difference]), axes)
    limit = write("Mul", [size, write.constant(_FAR)])
    return write("Max", [write("Min", [difference, limit]), write("Neg", [limit])])


def _weight(write: Writer, node: gs.Node, twin: str) -> str | None:
    """f'(y)², about, of what *node* writes, for the activation f that alone reads it; None for 1.

    A gate σ(y) is the derivative of y · σ(y) but for a bump; a clamp's derivative is 0 or 1.
    """
    users = [user for user, _ in consumers(node.outputs[0])]
    if len(users) == 1 and users[0].op in ("Relu", "Clip"):
        bounds = clamp(users[0])  # few values reach an upper bound: the lower one is enough
        if bounds is None or bounds[0] == -np.inf:
            return None
        return write("Cast", [write("Greater", [twin, write.constant(bounds[0])])], to=1)
    gate = _gate(users)
    if gate is None:
        return None
    some = write.some(FLOAT + gate)
    return write("Mul", [some, some])


def is_gated(layer: Biased) -> bool:
    """Whether a gate σ(y) alone weighs what *layer* writes."""
    return _gate([user for user, _ in consumers(layer.node.outputs[0])]) is not None


def _gate(users: Sequence[gs.Node]) -> str | None:
    """The tensor σ(k · y), where y is read by that gate and by the Mul that it gates alone."""
    if len(users) != 2:
        return None
    for branch, gated in (users, users[::-1]):
        after = consumers(branch.outputs[0]) if branch.op == "Mul" else []
        gate = after[0][0] if len(after) == 1 else branch
        if gate.op not in ("Sigmoid", "HardSigmoid") or gated.op != "Mul":
            continue
        if any(producer(t) is gate for t in gated.inputs):
            return str(gate.outputs[0].name)
    return None
