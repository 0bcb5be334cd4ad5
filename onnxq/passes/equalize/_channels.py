"""Which channels can be scaled together: variables of one factor each, followed through a graph.

Every channel that a source writes is a variable. Operators that treat channels apart and keep
factors (pooling, resizing, joining, splitting, turning axes) hand variables on; an Add couples
them; a layer with stored weights ends them, because its weights can take the factor back; anything
else freezes them. A tensor has its variables as an array of its own rank, which broadcasts to it:
[1, C, 1, 1] behind a Conv, [1, 1, C] behind a MatMul, [1, heads, 1, C / heads] inside attention.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute, constant_value, consumers, is_constant
from onnxq.passes._scope import Scope, is_standard, present
from onnxq.passes.equalize._coupled import coupled
from onnxq.passes.equalize._ends import CONVOLUTIONS, LINEAR, NORMS, Ids, Reader, Source, groups_of
from onnxq.passes.equalize._through import RULES, along, same
from onnxq.pipeline import Context
from onnxq.pipeline.eligibility import clamp

LAST = "is an output of the graph"


@dataclass(frozen=True, eq=False)
class Rounded:
    """A tensor that is rounded in its own right, with the variables [channels] of its *axis*."""

    tensor: gs.Tensor
    ids: Ids
    axis: int


@dataclass(eq=False)
class Channels:
    """The variables of a model.

    Attributes:
        sources, readers: where variables begin and end.
        rounded: tensors that are rounded in their own right.
        frozen: by variable, why its factor has to stay 1.
        pairs: products over channels, with the variables of both factors, one against one [n]:
            what one is multiplied by, the other is to be divided by.
        added: stored summands that are scaled: node, index of the input, variables.
        ceilings: what a Clip cuts at 0 and at a height: its output, its variables, the height.
        clips: whether factors go through such a Clip, whose height then limits them.
        names: all tensors that factors reach, with their variables.
        count: how many variables there are.
    """

    model: Model
    ctx: Context
    scope: Scope
    clips: bool = False
    sources: list[Source] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    rounded: list[Rounded] = field(default_factory=list)
    frozen: dict[int, str] = field(default_factory=dict)
    pairs: list[tuple[gs.Node, Ids, Ids]] = field(default_factory=list)
    added: list[tuple[gs.Node, int, Ids]] = field(default_factory=list)
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
        ops = {n.op for n in model.graph.nodes}
        if ops & {"Sigmoid", "MatMul", "Reshape", "Transpose"}:
            ctx.learn(model)
        found = Channels(model, ctx, Scope(model), clips)
        found._inside.update(id(n) for n in model.graph.nodes)
        for node in list(model.graph.nodes):
            if id(node) not in found._done:
                found._visit(node)
        return found

    def roots(self) -> Ids:
        """By variable, the one that stands for all that are coupled to it, int64 [count]."""
        return coupled(self.count, self._links)

    def new(self, channels: int) -> Ids:
        """As many variables as *channels*."""
        self.count += channels
        return np.arange(self.count - channels, self.count)

    def stop(self, ids: Ids, reason: str) -> None:
        """The factors of *ids* have to stay 1."""
        for variable in ids.reshape(-1).tolist():
            self.frozen.setdefault(variable, reason)

    def is_frozen(self, ids: Ids) -> bool:
        """Whether all factors of *ids* have to stay 1, so that they are as good as none."""
        return all(variable in self.frozen for variable in ids.reshape(-1).tolist())

    def link(self, one: Ids, two: Ids) -> None:
        """The factors of *one* and *two*, which broadcast, are the same."""
        a, b = np.broadcast_arrays(one, two)
        self._links.append((a.reshape(-1), b.reshape(-1)))

    def pair(self, node: gs.Node, one: Ids, two: Ids) -> None:
        """Channels *one* and *two* are multiplied with each other, and added up, by *node*."""
        self.pairs.append((node, one.reshape(-1), two.reshape(-1)))

    def round(self, tensor: gs.Tensor, ids: Ids) -> None:
        """*tensor* is rounded in its own right."""
        for axis in (1, ids.ndim - 1):
            own = along(ids, axis) if ids.ndim > 1 else None
            if own is not None:
                self.rounded.append(Rounded(tensor, own, axis))
                return

    def behind(self, node: gs.Node, ids: list[Ids] | None, index: int = 0) -> list[Ids] | None:
        """*ids*, noting that what is rounded is the result of *node* where it alone reads it."""
        x, result = node.inputs[index], node.outputs[0]
        if ids is not None and self.scope.only_use(x):
            self.rounded = [
                Rounded(result, r.ids, r.axis) if r.tensor is x else r for r in self.rounded
            ]
        return ids

    def _visit(self, node: gs.Node) -> None:
        inputs = [self._of.get(id(t)) for t in node.inputs]
        if is_standard(node) and self._begins(node, inputs):
            return
        if all(ids is None for ids in inputs):
            return
        out = self._through(node, inputs) if is_standard(node) else None
        if out is None:
            self._freeze(node, inputs)
            return
        for tensor, ids in zip(node.outputs, out, strict=False):
            self._carry(tensor, ids)

    def _begins(self, node: gs.Node, inputs: list[Ids | None]) -> bool:
        """Whether *node* is a layer, a normalization or a gain, which then is a source."""
        if node.op in CONVOLUTIONS or (node.op in LINEAR and is_constant(node.inputs[1])):
            self._layer(node, inputs)
            return True
        if node.op in NORMS:
            self._freeze(node, inputs)
            gain = node.inputs[1]
            stored = all(is_constant(t) and t.dtype == np.float32 for t in node.inputs[1:])
            rank = self.ctx.rank(node.inputs[0])
            axis = int(attribute(node, "axis", -1))
            if stored and rank and len(gain.shape) == 1 and axis in (-1, rank - 1):
                self._source(node, int(gain.shape[0]), rank, rank - 1)
            return True
        free = all(ids is None or self.is_frozen(ids) for ids in inputs)
        if node.op == "Mul" and len(inputs) == 2 and free:
            gains = [constant_value(t) for t in node.inputs]
            rank = self.ctx.rank(node.outputs[0])
            for gain in gains:
                if gain is None or not rank or gain.size < 2 or gain.dtype != np.float32:
                    continue
                if gain.size == gain.shape[-1] and any(g is None for g in gains):
                    self._source(node, gain.size, rank, rank - 1)
                    return True
        return False

    def _freeze(self, node: gs.Node, inputs: list[Ids | None]) -> None:
        for ids in inputs:
            if ids is not None:
                self.stop(ids, f"its output reaches '{node.name or node.op}' ({node.op})")

    def _carry(self, tensor: gs.Tensor, ids: Ids) -> None:
        """*tensor* has the variables *ids*, which broadcast to it."""
        self._of[id(tensor)] = ids
        self.names[tensor.name] = ids
        if self.scope.is_output(tensor):
            self.stop(ids, f"'{tensor.name}' {LAST}")
        for user, _ in consumers(tensor):
            if id(user) not in self._inside:
                self.stop(ids, f"'{tensor.name}' is read in a sub-graph")

    def _layer(self, node: gs.Node, inputs: list[Ids | None]) -> None:
        """A linear layer ends the variables of its input and begins others."""
        stored, convolves = self._own(node), node.op in CONVOLUTIONS
        if inputs[0] is not None:
            own = along(inputs[0], 1 if convolves else inputs[0].ndim - 1)
            if not stored:
                self.stop(inputs[0], f"the weight of '{node.name}' is shared or computed")
            elif own is None or own.size != self._columns(node):
                self._freeze(node, inputs[:1])
            else:
                self.readers.append(Reader(node, own))
                if not np.isin(
                    own, np.concatenate([own[:0], *(r.ids for r in self.rounded)])
                ).all():
                    self.round(node.inputs[0], inputs[0])
        self._freeze(node, inputs[1:])
        silu = self._silu(node) if node.op == "Conv" else None
        if not stored:
            if silu is not None:
                name = node.inputs[1].name
                self.ctx.decline(node, f"its weight '{name}' is shared or computed")
            return
        weight = node.inputs[1]
        rank = len(weight.shape) if convolves else self.ctx.rank(node.outputs[0])
        if rank is not None and rank > 1:
            self._source(node, self._outputs(node), rank, 1 if convolves else rank - 1, silu)

    def _source(
        self,
        node: gs.Node,
        channels: int,
        rank: int,
        axis: int,
        silu: tuple[gs.Node, gs.Node] | None = None,
    ) -> None:
        """The output of *node*, of *rank*, has new variables along *axis*."""
        ids = self.new(channels)
        whole = ids.reshape([-1 if i == axis else 1 for i in range(rank)])
        tensor = node.outputs[0]
        if silu is not None:
            self._done |= {id(n) for n in silu}
            self.names[tensor.name] = whole
            tensor = silu[1].outputs[0]
        self.sources.append(Source(node, tensor, ids, *(silu or ())))
        if node.op in CONVOLUTIONS:
            self.round(tensor, whole)
        self._carry(tensor, whole)

    def _own(self, node: gs.Node) -> bool:
        """Whether the weight of *node* is one matrix or kernel, its own, and its bias stored."""
        weight = node.inputs[1]
        rank = len(weight.shape) if is_constant(weight) else 0
        bias = not present(node, 2) or is_constant(node.inputs[2])
        return (
            (rank > 2 if node.op in CONVOLUTIONS else rank == 2)
            and weight.dtype == np.float32
            and self.scope.only_use(weight)
            and bias
            and not attribute(node, "transA", 0)
        )

    def _columns(self, node: gs.Node) -> int:
        """How many channels *node* reads."""
        rows, columns = (int(n) for n in node.inputs[1].shape[:2])
        if node.op == "Conv":
            return columns * groups_of(node)
        return columns if node.op == "Gemm" and attribute(node, "transB", 0) else rows

    def _outputs(self, node: gs.Node) -> int:
        """How many channels *node* writes."""
        rows, columns = (int(n) for n in node.inputs[1].shape[:2])
        if node.op == "ConvTranspose":
            return columns * groups_of(node)
        turned = node.op == "Gemm" and attribute(node, "transB", 0)
        return rows if node.op == "Conv" or turned else columns

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

    def _through(self, node: gs.Node, inputs: list[Ids | None]) -> list[Ids] | None:
        """Variables of the outputs of *node*; None where factors end badly."""
        if node.op == "Clip":
            return self._clip(node, inputs[0]) if self.clips else None
        rule = RULES.get(node.op)
        return None if rule is None else rule(self, node, inputs)

    def _clip(self, node: gs.Node, ids: Ids | None) -> list[Ids] | None:
        bounds = clamp(node)
        if ids is None or bounds is None or bounds[0] != 0.0 or bounds[1] <= 0.0:
            return None
        found = self.behind(node, same(self, node, ids))
        own = along(ids, 1)
        if found is not None and np.isfinite(bounds[1]):
            if own is None:
                return None
            self.ceilings.append((node.outputs[0], own, bounds[1]))
        return found
