"""The mean drift of every biased layer, taken off in the run: the graph that measures it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto, helper, numpy_helper

from onnxq.graph import consumers, producer
from onnxq.pipeline.eligibility import clamp

FLOAT, ERROR, WEIGHT, SQUARE = (
    f"onnxq_{part}__" for part in ("float", "error", "weight", "square")
)
_HIDDEN = 1e-4
"""Weight of a position whose error the activation hides: not 0, for channels that never open."""


@dataclass(frozen=True)
class Biased:
    """The node that adds a bias, the constant, the channel axis and the rank of what it writes."""

    node: gs.Node
    bias: gs.Constant
    axis: int
    rank: int


def take_off(joined: onnx.ModelProto, layers: Mapping[str, Biased]) -> set[str]:
    """Behind each node of *layers* take off its mean difference from its float twin, in place.

    *joined* has the float nodes first, their names behind ``FLOAT``. Of the layer NAME the tensor
    ``ERROR + NAME`` is the weighted mean difference by channel and ``WEIGHT + NAME`` the mean
    weight; names of layers without weights, whose mean is plain, are returned.
    """
    opset = next(o.version for o in joined.opset_import if o.domain in ("", "ai.onnx"))
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
        write = _Writer(graph, f"onnxq_drift__{node.name}__", opset)
        axes = [i for i in range(layer.rank) if i != layer.axis]
        difference, weight = write("Sub", [raw, twin]), _weight(write, layer.node, twin)
        if weight is None:
            plain.add(node.name)
            drift = write.mean(difference, axes, ERROR + node.name)
            write("Mul", [drift, drift], SQUARE + node.name)
        else:
            error = write.mean(write("Mul", [difference, weight]), axes, ERROR + node.name)
            drift = write("Div", [error, write.mean(weight, axes, WEIGHT + node.name)])
            write("Mul", [drift, error], SQUARE + node.name)
        write("Sub", [raw, drift], out)
    return plain


def _weight(write: _Writer, node: gs.Node, twin: str) -> str | None:
    """f'(y)², about, of what *node* writes, for the activation f that alone reads it; None for 1.

    A gate σ(y) is the derivative of y · σ(y) but for a bump; a clamp's derivative is 0 or 1.
    """
    users = [user for user, _ in consumers(node.outputs[0])]
    bounds = clamp(users[0]) if len(users) == 1 and users[0].op in ("Relu", "Clip") else None
    if bounds is not None:
        inside = [
            write(op, [twin, write.constant(bound)])
            for op, bound in zip(("Greater", "Less"), bounds, strict=True)
            if np.isfinite(bound)
        ]
        if not inside:
            return None
        open_ = inside[0] if len(inside) == 1 else write("And", inside)
        slope = write("Cast", [open_], to=TensorProto.FLOAT)
    else:
        gate = _gate(users)
        if gate is None:
            return None
        slope = write("Mul", [FLOAT + gate, FLOAT + gate])
    return write("Max", [slope, write.constant(_HIDDEN)])


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


@dataclass
class _Writer:
    """Appends nodes to *graph*; names begin with *prefix*."""

    graph: onnx.GraphProto
    prefix: str
    opset: int
    count: int = field(default=0)

    def __call__(
        self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any
    ) -> str:
        output = output or self._name()
        self.graph.node.append(
            helper.make_node(op, list(inputs), [output], self._name(), **attributes)
        )
        return output

    def constant(self, value: float | Sequence[int]) -> str:
        kind = np.float32 if isinstance(value, float) else np.int64
        name = self._name()
        self.graph.initializer.append(numpy_helper.from_array(np.array(value, kind), name))
        return name

    def mean(self, tensor: str, axes: list[int], output: str) -> str:
        if self.opset < 18:
            return self("ReduceMean", [tensor], output, axes=axes)
        return self("ReduceMean", [tensor, self.constant(axes)], output)

    def _name(self) -> str:
        self.count += 1
        return f"{self.prefix}{self.count}"
