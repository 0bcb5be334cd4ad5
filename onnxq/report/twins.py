"""The graph of twins: the float network, and beside each layer the same layer on integers.

A twin reads the *float* tensors, so that errors of earlier layers do not reach it. With f the layer
with float weights, f̂ with the values that its integers stand for, x̂ = DQ(Q(x)), and t = f(x):

    error      DQ(Q(f̂(x̂))) − t        weights    f̂(x) − t
    inputs     f̂(x̂) − f̂(x)             output     DQ(Q(t)) − t

Each of the last three has one source of noise alone, but for the inputs' being seen through the
integer weights: that changes it by about one part in 2⁷, and needs no float weights, which another
tool may have folded into others. Where an activation function is all that reads t, each tensor goes
through it before differences are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from onnxq.report.equalized import SCALE, UNSCALE
from onnxq.report.functions import apply
from onnxq.report.grids import bounds, qparams
from onnxq.report.groups import ACTIVATIONS, MOVES, QUANTIZE, Grid, Group
from onnxq.report.nodes import Graph
from onnxq.report.reductions import PREFIX, Reducer

Through = Mapping[str, tuple[str, float]]


@dataclass(frozen=True)
class Errors:
    """Names of the tensors of one twin: see the module; None for noise that it cannot have."""

    reference: str
    error: str | None
    weights: str | None
    inputs: str | None
    output: str | None


class Twins:
    """Adds twins to the float model that *reducer* holds.

    Args:
        reducer: holds a copy of the float model, to which twins are added.
        quantized: the quantized model, of the same opset.
        through: by float tensor, the function that alone reads it and its scale.
        shares: whether the sources of noise are told apart.
        values: constants of the quantized model that are put in as they are; others are computed
            in the graph as they are there.
    """

    def __init__(
        self,
        reducer: Reducer,
        quantized: onnx.ModelProto,
        through: Through,
        *,
        shares: bool,
        values: Mapping[str, NDArray[Any]],
    ) -> None:
        self.reducer, self.quantized, self.values = reducer, Graph(quantized), values
        self.float = Graph(reducer.model)
        self.through, self.shares = through, shares
        self._copied: set[str] = set()
        self._variables: set[str] = set()

    def add(self, group: Group) -> Errors:
        """Add the twin of *group*."""
        reference = self._seen(group.result, group.result)
        rounded = {s.name: s.tensor if s.grid is None else self.round(s.tensor, s.grid)
                   for s in group.sources}  # fmt: skip
        full = self._copy(group, rounded, "f")
        self._shape_of(full, group)
        tail = self._tail(group) if self.shares else []
        clamped = self._behind(full, tail)
        # codes that saturate where the activation does are the same behind it, where the operator
        # and its activation are one kernel
        kept = clamped if group.grid and self._saturates(tail, group.grid) else full
        whole = full if group.grid is None else self.round(kept, group.grid)
        error = self._difference(self._seen(whole, group.result), reference)
        if not self.shares:
            return Errors(reference, error, None, None, None)
        before = self._seen(clamped, group.result)
        weights = alone = None
        if group.rounded and any(s.grid for s in group.sources):
            plain = self._copy(group, {s.name: s.tensor for s in group.sources}, "w")
            self._shape_of(plain, group)
            alone = self._seen(self._behind(plain, tail), group.result)
            weights = self._difference(alone, reference)
        elif group.rounded:
            weights = self._difference(before, reference)
        inputs = None
        if any(s.grid for s in group.sources):
            inputs = self._difference(before, alone or reference)
        return Errors(reference, error, weights, inputs, self.rounding(group.result, group.grid))

    def rounding(self, tensor: str, grid: Grid | None) -> str | None:
        """The error of rounding the float *tensor* to *grid*."""
        if grid is None:
            return None
        return self._difference(
            self._seen(self.round(tensor, grid), tensor), self._seen(tensor, tensor)
        )

    def round(self, tensor: str, grid: Grid) -> str:
        """*tensor* after a round trip through its codes."""
        parameters = [self._constant(n) for n in (grid.scale, grid.zero_point) if n]
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in grid.node.attribute}
        quantize = attributes
        if grid.node.op_type != QUANTIZE:  # output_dtype and saturate are of QuantizeLinear alone
            quantize = {k: v for k, v in attributes.items() if k in ("axis", "block_size")}
        codes = self.reducer.node("QuantizeLinear", [tensor, *parameters], **quantize)
        if grid.clip is not None:
            ends = [self._constant(n) if n else "" for n in grid.bounds]
            codes = self.reducer.node("Clip", [codes, *ends])
        kept = {k: v for k, v in attributes.items() if k in ("axis", "block_size")}
        return self.reducer.node("DequantizeLinear", [codes, *parameters], like=tensor, **kept)

    def _difference(self, one: str, two: str) -> str:
        return self.reducer.node("Sub", [one, two], like=one)

    def _seen(self, tensor: str, result: str) -> str:
        """*tensor*, which stands for *result*, behind the function that alone reads that."""
        if result not in self.through:
            return tensor
        seen = apply(self.reducer, tensor, *self.through[result])
        if tensor in self.reducer.shapes:
            self.reducer.shapes[seen] = self.reducer.shapes[tensor]
        return seen

    def _shape_of(self, tensor: str, group: Group) -> None:
        if group.result in self.reducer.shapes:
            self.reducer.shapes[tensor] = self.reducer.shapes[group.result]

    def _copy(self, group: Group, sources: Mapping[str, str], kind: str) -> str:
        """The nodes of *group* on *sources*; the name of what the last one writes."""
        names = dict(sources)
        for node in group.nodes:
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{PREFIX}{kind}__{group.node}__{node.output[0]}"
            for i, name in enumerate(node.input):
                if name:
                    copy.input[i] = names[name] if name in names else self._constant(name)
            if _pointwise(node) and node.input[1] in self.values:
                self._variable(node.input[1])
            for i, name in enumerate(node.output):
                if name:
                    names[name] = f"{PREFIX}{kind}__{group.node}__{name}"
                    copy.output[i] = names[name]
            self.reducer.model.graph.node.append(copy)
        return names[group.output]

    def _constant(self, name: str) -> str:
        """The constant *name* of the quantized model, in the graph of twins."""
        mine = f"{PREFIX}q__{name}"
        if name in self._copied:
            return mine
        if name in self.values:
            self._copied.add(name)
            tensor = onnx.numpy_helper.from_array(self.values[name], mine)
            self.reducer.model.graph.initializer.append(tensor)
            return mine
        for node in self.quantized.behind(name):
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{PREFIX}q__{node.name or node.output[0]}"
            for i, read in enumerate(node.input):
                if read:
                    copy.input[i] = self._constant(read)
            for i, written in enumerate(node.output):
                copy.output[i] = f"{PREFIX}q__{written}" if written else ""
            if node.output[0] not in self._copied:
                self._copied.update(node.output)
                self.reducer.model.graph.node.append(copy)
        if name in self.quantized.initializers and name not in self._copied:
            tensor = TensorProto()
            tensor.CopyFrom(self.quantized.initializers[name])
            tensor.name = mine
            self.reducer.model.graph.initializer.append(tensor)
            self._copied.add(name)
        return mine

    def _variable(self, name: str) -> None:
        """Let the weight *name* be one that a feed could replace.

        ONNX Runtime brings convolutions of constant weight into a blocked layout. A twin's
        neighbours are not: to and fro costs more than a pointwise convolution gains.
        """
        mine = self._constant(name)
        if mine not in self._variables:
            self._variables.add(mine)
            value = self.values[name]
            kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            self.reducer.model.graph.input.append(
                onnx.helper.make_tensor_value_info(mine, kind, value.shape)
            )

    def _tail(self, group: Group) -> list[NodeProto]:
        """Activations of the float model in front of the result that the codes stand for."""
        found: list[NodeProto] = []
        name = group.result
        node = self.float.producer.get(name)
        scale = back = None
        if node is not None and node.name.startswith(SCALE):  # a · f(y / a) for y = a · x
            scale = node
            back = next(n for n in self.float.users[name] if n.name.startswith(UNSCALE))
            name = node.input[0]
            node = self.float.producer.get(name)
        read = {s.tensor for s in group.sources}
        while node is not None and node.op_type in ACTIVATIONS and name not in read:
            found.insert(0, node)
            name = node.input[0]
            node = self.float.producer.get(name)
        own = sum(n.op_type in ACTIVATIONS for n in group.nodes)
        found = found[own:]
        return [back, *found, scale] if found and back is not None and scale is not None else found

    def _saturates(self, tail: list[NodeProto], grid: Grid) -> bool:
        """Whether rounding to *grid* makes the same codes with and without *tail*."""
        found = qparams(grid, self.values) if grid.scale in self.values else None
        if found is None or found.axis is not None or not tail:
            return False
        limits = [bounds(self.float, node.output[0]) for node in tail]
        ends = np.array([max(low for low, _ in limits), min(high for _, high in limits)])
        if tail[-1].name.startswith(SCALE):
            factors = self.float.initializers[tail[-1].input[1]]
            ends = ends * onnx.numpy_helper.to_array(factors).min()
        low, high = found.quantize(np.clip(ends, -1e30, 1e30).astype(np.float32))
        return int(low) == found.qmin and int(high) == found.qmax

    def _behind(self, tensor: str, tail: list[NodeProto]) -> str:
        for node in tail:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            inputs = [tensor, *node.input[1:]]
            tensor = self.reducer.node(node.op_type, inputs, like=tensor, **attributes)
        return tensor


def _pointwise(node: NodeProto) -> bool:
    """Whether *node* is a convolution by 1 × 1 kernels, in one group."""
    if node.op_type != "Conv":
        return False
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return found.get("group", 1) == 1 and set(found.get("kernel_shape", (0,))) == {1}


def moves_only(
    group: Group, grids: Mapping[str, Grid | None], values: Mapping[str, NDArray[Any]]
) -> bool:
    """Whether *group* only moves values that are rounded already, and so adds no error.

    *grids* has, by float tensor, the grid to which the group that computes it rounds; *values* what
    their scales and zero points are.
    """
    if group.grid is None or any(n.op_type not in MOVES for n in group.nodes):
        return False

    def held(grid: Grid) -> tuple[bytes, ...]:
        return tuple(values[n].tobytes() for n in (grid.scale, grid.zero_point) if n)

    return all(
        s.grid is not None
        and (given := grids.get(s.tensor)) is not None
        and held(s.grid) == held(group.grid) == held(given)
        for s in group.sources
    )
