"""Layers with stored weights of their own: rows of codes, and the patches that they multiply."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, attribute, constant_value, consumers
from onnxq.passes._reads import reads_of
from onnxq.passes.correct._emitted import LINEAR
from onnxq.pipeline import Context
from onnxq.quant import PerAxis, PerTensor, QuantSpec, ScaleRule
from onnxq.quant.pairs import from_kernel_rows, kernel_rows
from onnxq.quant.patches import Reads
from onnxq.quant.second_order import Codes
from onnxq.quant.weights import knows_pairs

Array = NDArray[np.float32]


_LOST_TO_THE_WIDEST = 2
"""Bits that a channel loses to a scale that the widest of all set, where they differ four times."""
UNREAD: Array = np.empty(0, np.float32)
"""In place of weights that are read when it is their turn."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A planned node with stored weights of its own.

    Attributes:
        node: the node.
        weight: the values of its weight.
        spec: how the weight is quantized.
        reads: the patches of its input.
        axis: the axis of the weight that output channels are on.
        inner: the axis that runs fastest in a patch.
        groups: how many groups of channels it has.
    """

    node: gs.Node
    weight: Array
    spec: QuantSpec
    reads: Reads
    axis: int
    inner: int
    groups: int

    @property
    def name(self) -> str:
        """Name of the weight."""
        return str(self.node.inputs[1].name)

    @property
    def bits(self) -> int:
        """Bits that most of its channels use: fewer than codes have where all share one scale."""
        shared = isinstance(self.spec.granularity, PerTensor)
        return self.spec.dtype.bits - (_LOST_TO_THE_WIDEST if shared else 0)

    @property
    def columns(self) -> int:
        """How many values a patch of one group has, K."""
        shape = self.node.inputs[1].shape
        return int(np.prod(shape)) // int(shape[self.axis])

    @property
    def elements(self) -> int:
        """Values in a matrix of second moments of all groups, G · K²."""
        return self.groups * self.columns**2

    def rows(self, values: NDArray[Any]) -> NDArray[Any]:
        """*values* of the weight's shape as [groups, channels of the group, K]."""
        rows = kernel_rows(values, self.axis, self.inner)
        return rows.reshape(self.groups, -1, rows.shape[1])

    def in_units(self, ctx: Context) -> Array:
        """The weight in units of a code, zero point taken off, as ``rows``."""
        scale, _ = ctx.qparams[self.name].along(self.weight.ndim)
        return np.asarray(self.rows(self.weight / scale), np.float32)

    def codes(self, ctx: Context) -> Array:
        """The codes chosen so far, zero point taken off, as ``rows``."""
        _, zero = ctx.qparams[self.name].along(self.weight.ndim)
        codes = np.asarray(ctx.integers[self.name]).astype(np.float32)
        return np.asarray(self.rows(codes - zero.astype(np.float32)), np.float32)

    def allowed(self, ctx: Context) -> Codes:
        """The codes that the format and the kernel's sums allow."""
        qparams, rank = ctx.qparams[self.name], self.weight.ndim
        zero = np.broadcast_to(qparams.along(rank)[1], self.weight.shape)
        zero = self.rows(zero)[:, :, :1].astype(np.float32)
        low, high = np.float32(qparams.qmin) - zero, np.float32(qparams.qmax) - zero
        limit = self.spec.pair_sum_limit
        if limit is None:
            return Codes(low, high)
        if qparams.axis is not None and knows_pairs(self.spec):
            return Codes(low, high, limit)
        # any two codes of a channel may meet: the largest of each sign keeps what it has
        now = self.codes(ctx)
        alike = now.reshape(1 if qparams.axis is None else -1, now.size // _channels(now, qparams))
        ends = []
        for sign in (1.0, -1.0):
            size = np.maximum(sign * alike, 0)
            top = size.max(axis=1, keepdims=True)
            keep = np.maximum(top, limit // 2)
            ends.append(np.where(size == top, keep, limit - keep).reshape(now.shape))
        return Codes(np.maximum(low, -ends[1]), np.minimum(high, ends[0]))

    @property
    def scalable(self) -> bool:
        """Whether its scales may change, row by row, without a code leaving what is allowed."""
        limited = self.spec.pair_sum_limit is not None and not knows_pairs(self.spec)
        by_row = isinstance(self.spec.granularity, PerAxis)
        return by_row and self.spec.scale is ScaleRule.ANY and not limited

    def rescale(self, factors: Array, ctx: Context) -> None:
        """Multiply the scale of each row by *factors* [groups, channels of the group, 1]."""
        now = ctx.qparams[self.name]
        scale = now.scale * factors.reshape(now.scale.shape)
        ctx.qparams[self.name] = replace(now, scale=np.asarray(scale, np.float32))

    def put(self, codes: Array, ctx: Context) -> None:
        """Take *codes*, as ``codes`` gives them, as the integers of the weight."""
        qparams = ctx.qparams[self.name]
        rows = codes.reshape(-1, codes.shape[-1])
        whole = from_kernel_rows(rows, self.weight.shape, self.axis, self.inner)
        whole = whole + qparams.along(self.weight.ndim)[1]
        ctx.integers[self.name] = whole.astype(qparams.dtype.numpy)


def _channels(codes: Array, qparams: Any) -> int:
    return 1 if qparams.axis is None else codes.shape[0] * codes.shape[1]


def find(model: Model, ctx: Context) -> tuple[list[Layer], dict[str, str]]:
    """Planned layers in order; by name of the others, why they are left."""
    found, left = [], {}
    for node in model.graph.nodes:
        if node.op not in LINEAR or node.name not in ctx.plan.nodes:
            continue
        layer = _layer(node, ctx)
        if isinstance(layer, Layer):
            found.append(layer)
        else:
            left[node.name] = layer
    return found, left


def narrow(model: Model, ctx: Context, bits: int, columns: int) -> list[Layer]:
    """Planned layers of at most *bits* bits in order; those left for another reason are declined.

    Where all planned layers have more bits there is nothing to decline. Layers with more than
    *columns* values in a patch are left.
    """
    layers, left = find(model, ctx)
    found = [layer for layer in layers if layer.bits <= bits]
    if layers and not found:
        return []
    for layer in found:
        if layer.columns > columns:
            left[layer.node.name] = f"its patches have {layer.columns} values each"
    for name, reason in left.items():
        ctx.decline(name, reason)
    return [layer for layer in found if layer.node.name not in left]


def _layer(node: gs.Node, ctx: Context) -> Layer | str:
    """*node* as a layer, or why it is none."""
    name, weight = node.inputs[1].name, constant_value(node.inputs[1])
    spec, qparams = ctx.plan.tensors.get(name), ctx.qparams.get(name)
    if weight is None or qparams is None or name not in ctx.integers:
        return "its weight has no integers yet: 'quantize-weights' comes first"
    if not isinstance(spec, QuantSpec):
        return "the scale of its weight is given"
    shape = geometry(node, ctx)
    if isinstance(shape, str):
        return shape
    reads, axis, inner, groups = shape
    if qparams.axis is not None and qparams.axis % weight.ndim != axis:
        return "its scales do not run along its outputs"
    return Layer(node, np.asarray(weight, np.float32), spec, reads, axis, inner, groups)


def geometry(node: gs.Node, ctx: Context) -> tuple[Reads, int, int, int] | str:
    """The patches of *node*, and the output axis, innermost axis and groups of its weight.

    Or why they are not followed.
    """
    name, weight = node.inputs[1].name, node.inputs[1]
    if len(consumers(weight)) != 1:
        return f"its weight '{name}' is shared: 'unshare-weights' gives it its own"
    rank = ctx.rank(node.inputs[0])
    if node.op == "ConvTranspose":
        return "the patches of a ConvTranspose are not followed"
    if rank is None or rank < 2 or (node.op != "Conv" and len(weight.shape) != 2):
        return "it is no product of two matrices"
    if node.op == "Conv":
        return reads_of(node), 0, 1, int(attribute(node, "group", 1))
    axis = 0 if node.op == "Gemm" and attribute(node, "transB", 0) else 1
    return reads_of(node), axis, 1 - axis, 1


def blocks(layers: Iterable[Layer], elements: int) -> list[list[Layer]]:
    """*layers* in runs whose second moments have at most *elements* values, or of one layer."""
    found: list[list[Layer]] = []
    size = 0
    for layer in layers:
        size += layer.elements
        if not found or size > elements:
            found.append([])
            size = layer.elements
        found[-1].append(layer)
    return found
