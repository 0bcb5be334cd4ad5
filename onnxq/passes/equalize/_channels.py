"""Which channels can be scaled together: variables of one factor each, followed through a graph.

Every channel that a source writes is a variable. Operators that treat channels apart and keep
factors (pooling, resizing, joining, splitting) hand variables on; an Add couples them; a layer with
stored weights ends them, because its weights can take the factor back; anything else freezes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import networkx as nx
import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute, constant_value, consumers, is_constant
from onnxq.passes._scope import Scope, is_standard, present
from onnxq.passes.equalize._ends import Ids, Reader, Source
from onnxq.pipeline import Context
from onnxq.pipeline.eligibility import clamp

_SAME = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Relu", "LeakyRelu",
         "PRelu", "Pad", "Identity", "Dropout", "Resize", "Upsample")  # fmt: skip
"""Operators f with f(a·y) = a·f(y) in each channel, for a > 0, some only as ``_same`` says."""

LAST = "is an output of the graph"


@dataclass(eq=False)
class Channels:
    """The variables of a model.

    Attributes:
        sources, readers: where variables begin and end.
        rounded: tensors that are rounded in their own right, with their variables.
        frozen: by variable, why its factor has to stay 1.
        ceilings: what a Clip cuts at 0 and at a height: its output, its variables, the height.
        clips: whether factors go through such a Clip, whose height then limits them.
        names: all tensors that factors reach, with the variables of their channels (axis 1).
        count: how many variables there are.
    """

    model: Model
    ctx: Context
    scope: Scope
    clips: bool = False
    sources: list[Source] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    rounded: list[tuple[gs.Tensor, Ids]] = field(default_factory=list)
    frozen: dict[int, str] = field(default_factory=dict)
    ceilings: list[tuple[gs.Tensor, Ids, float]] = field(default_factory=list)
    count: int = 0
    names: dict[str, Ids] = field(default_factory=dict)
    _of: dict[int, Ids] = field(default_factory=dict)
    _links: list[tuple[Ids, Ids]] = field(default_factory=list)
    _done: set[int] = field(default_factory=set)
    _inside: set[int] = field(default_factory=set)

    @staticmethod
    def find(model: Model, ctx: Context, *, clips: bool = False) -> Channels:
        """Follow the channels of *model*."""
        model.sort()
        if any(n.op == "Sigmoid" for n in model.graph.nodes):
            ctx.learn(model)
        found = Channels(model, ctx, Scope(model), clips)
        found._inside.update(id(n) for n in model.graph.nodes)
        for node in list(model.graph.nodes):
            if id(node) not in found._done:
                found._visit(node)
        return found

    def roots(self) -> Ids:
        """By variable, the one that stands for all that are coupled to it, int64 [count]."""
        links: nx.Graph[int] = nx.Graph()
        for one, two in self._links:
            links.add_edges_from(zip(one.tolist(), two.tolist(), strict=True))
        roots = np.arange(self.count)
        for component in nx.connected_components(links):
            members = sorted(component)
            roots[members] = members[0]
        return roots

    def _visit(self, node: gs.Node) -> None:
        inputs = [self._of.get(id(t)) for t in node.inputs]
        if node.op == "Conv" and is_standard(node):
            self._conv(node, inputs)
            return
        if all(ids is None for ids in inputs):
            return
        out = self._through(node, inputs) if is_standard(node) else None
        if out is None:
            self._freeze(node, inputs)
        elif not isinstance(out, bool):
            for tensor, ids in zip(node.outputs, out, strict=True):
                self._carry(tensor, ids)

    def _freeze(self, node: gs.Node, inputs: list[Ids | None]) -> None:
        for ids in inputs:
            if ids is not None:
                self._stop(ids, f"its output reaches '{node.name or node.op}' ({node.op})")

    def _stop(self, ids: Ids, reason: str) -> None:
        for variable in ids.tolist():
            self.frozen.setdefault(variable, reason)

    def _carry(self, tensor: gs.Tensor, ids: Ids) -> None:
        """*tensor* has the variables *ids* along its axis 1."""
        self._of[id(tensor)] = ids
        self.names[tensor.name] = ids
        if self.scope.is_output(tensor):
            self._stop(ids, f"'{tensor.name}' {LAST}")
        for user, _ in consumers(tensor):
            if id(user) not in self._inside:
                self._stop(ids, f"'{tensor.name}' is read in a sub-graph")

    def _new(self, channels: int) -> Ids:
        self.count += channels
        return np.arange(self.count - channels, self.count)

    def _conv(self, node: gs.Node, inputs: list[Ids | None]) -> None:
        weight = node.inputs[1]
        stored = self._own(node)
        if inputs[0] is not None:
            if stored:
                groups = int(attribute(node, "group", 1))
                self.readers.append(Reader(node, 1, groups, inputs[0]))
            else:
                self._stop(inputs[0], f"the weight of '{node.name}' is shared or computed")
        self._freeze(node, inputs[1:])
        silu = self._silu(node)
        if not stored:
            if silu is not None:
                self.ctx.decline(node, f"its weight '{weight.name}' is shared or computed")
            return
        ids = self._new(int(weight.shape[0]))
        tensor = node.outputs[0]
        if silu is not None:
            self._done |= {id(n) for n in silu}
            self.names[tensor.name] = ids
            tensor = silu[1].outputs[0]
        self.sources.append(Source(node, tensor, ids, *(silu or ())))
        self.rounded.append((tensor, ids))
        self._carry(tensor, ids)

    def _own(self, node: gs.Node) -> bool:
        """Whether the weight of *node* is stored for it alone, and its bias stored."""
        weight = node.inputs[1]
        bias = not present(node, 2) or is_constant(node.inputs[2])
        return (
            is_constant(weight)
            and weight.dtype == np.float32
            and self.scope.only_use(weight)
            and bias
        )

    def _silu(self, node: gs.Node) -> tuple[gs.Node, gs.Node] | None:
        """The Sigmoid and the Mul that are all that reads the output of *node*, if so."""
        x = node.outputs[0]
        users = {user.op: user for user, _ in consumers(x)}
        if len(consumers(x)) != 2 or set(users) != {"Sigmoid", "Mul"} or self.scope.is_output(x):
            return None
        sigmoid, gate = users["Sigmoid"], users["Mul"]
        if not self.scope.only_use(sigmoid.outputs[0]):
            return None
        if consumers(sigmoid.outputs[0])[0][0] is not gate:
            return None
        if not {id(sigmoid), id(gate)} <= self._inside:
            return None
        return sigmoid, gate

    def _through(self, node: gs.Node, inputs: list[Ids | None]) -> list[Ids] | bool | None:
        """Variables of the outputs of *node*; True where they end well, None where they do not."""
        first = inputs[0]
        if node.op in _SAME and first is not None and len(node.outputs) == 1:
            same = self._same(node, first)
            return self._behind(node, same) if node.op == "Relu" else same
        if node.op == "Clip" and first is not None and self.clips:
            return self._clip(node, first)
        if node.op == "Concat" and self._axis(node) == 1:
            return self._concat(node, inputs)
        if node.op == "Split" and first is not None and self._axis(node) == 1:
            return self._split(node, first)
        if node.op in ("Add", "Sub") and len(inputs) == 2:
            return self._add(node, inputs)
        if node.op == "Mul" and len(inputs) == 2:
            carried = [ids for ids in inputs if ids is not None]
            if len(carried) == 1:
                return self._same(node, carried[0])
        if node.op == "Flatten" and first is not None and int(attribute(node, "axis", 1)) == 1:
            shape = self.ctx.shape(node.inputs[0])
            if shape is not None and None not in shape[2:]:
                return [np.repeat(first, int(np.prod(shape[2:], dtype=np.int64)))]  # type: ignore[arg-type]
        if node.op in ("Gemm", "MatMul") and first is not None:
            return self._linear(node, inputs)
        return None

    def _same(self, node: gs.Node, ids: Ids) -> list[Ids] | None:
        if node.op == "Resize" and (
            attribute(node, "mode", "nearest") not in ("nearest", "linear")
            or float(attribute(node, "extrapolation_value", 0.0)) != 0.0
        ):
            return None
        if node.op == "PRelu" and not is_constant(node.inputs[1]):
            return None
        if node.op == "Pad" and present(node, 2):
            value = constant_value(node.inputs[2])
            if value is None or value.any():
                return None
        shape = self.ctx.shape(node.outputs[0])
        return [ids] if shape is not None and len(shape) > 1 and shape[1] == ids.size else None

    def _clip(self, node: gs.Node, ids: Ids) -> list[Ids] | None:
        bounds = clamp(node)
        if bounds is None or bounds[0] != 0.0 or bounds[1] <= 0.0:
            return None
        same = self._behind(node, self._same(node, ids))
        if same is not None and np.isfinite(bounds[1]):
            self.ceilings.append((node.outputs[0], ids, bounds[1]))
        return same

    def _behind(self, node: gs.Node, ids: list[Ids] | None) -> list[Ids] | None:
        """*ids*, noting that what is rounded is the result of *node* where it alone reads it."""
        x = node.inputs[0]
        if ids is not None and self.scope.only_use(x):
            self.rounded = [
                (node.outputs[0] if tensor is x else tensor, own) for tensor, own in self.rounded
            ]
        return ids

    def _axis(self, node: gs.Node) -> int | None:
        axis = int(attribute(node, "axis", 0))
        rank = self.ctx.rank(node.inputs[0])
        return axis if axis >= 0 else None if rank is None else axis + rank

    def _concat(self, node: gs.Node, inputs: list[Ids | None]) -> list[Ids] | None:
        parts = []
        for tensor, ids in zip(node.inputs, inputs, strict=True):
            shape = self.ctx.shape(tensor)
            channels = None if shape is None or len(shape) < 2 else shape[1]
            if channels is None:
                return None
            if ids is not None:
                parts.append(ids)
                continue
            parts.append(self._new(channels))
            self._stop(parts[-1], f"'{tensor.name}' has no layer in front of it that scales")
        return [np.concatenate(parts)]

    def _split(self, node: gs.Node, ids: Ids) -> list[Ids] | None:
        parts, start = [], 0
        for tensor in node.outputs:
            shape = self.ctx.shape(tensor)
            if shape is None or len(shape) < 2 or shape[1] is None:
                return None
            parts.append(ids[start : start + shape[1]])
            start += shape[1]
        return parts if start == ids.size else None

    def _add(self, node: gs.Node, inputs: list[Ids | None]) -> list[Ids] | None:
        one, two = inputs
        if one is None or two is None or one.size != two.size:
            return None
        same = self._same(node, one)
        if same is not None:
            self._links.append((one, two))
            self.rounded.append((node.outputs[0], one))
        return same

    def _linear(self, node: gs.Node, inputs: list[Ids | None]) -> bool | None:
        weight, ids = node.inputs[1], inputs[0]
        stored = constant_value(weight) if self._own(node) else None
        if (
            ids is None
            or stored is None
            or stored.ndim != 2
            or any(i is not None for i in inputs[1:])
        ):
            return None
        if self.ctx.rank(node.inputs[0]) != 2 or attribute(node, "transA", 0):
            return None
        axis = 1 if node.op == "Gemm" and attribute(node, "transB", 0) else 0
        if stored.shape[axis] != ids.size:
            return None
        self.readers.append(Reader(node, axis, 1, ids))
        return True
