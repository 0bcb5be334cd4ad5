"""Weights as codes, made floats again in front of the layers that read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, attribute, replace_input
from onnxq.passes._scope import Scope
from onnxq.passes.emit._codes import Codes
from onnxq.passes.emit._stored import Products
from onnxq.pipeline import Context
from onnxq.quant.blocks import Blocks

_FLOAT = int(onnx.TensorProto.FLOAT)
_PRODUCT_BITS = 8
"""The widest codes that ONNX Runtime has a product for; wider ones are better converted at load."""


class WeightWriter:
    """Puts codes, and what makes floats of them, in front of layers that compute in float.

    Args:
        model, ctx: as of a pass; scales are ``ctx.blocks``.
        threshold: weights of fewer bytes in float32 are converted at load.
        microsoft: whether operators of ONNX Runtime may be used.
        accuracy_level: of MatMulNBits.
    """

    def __init__(
        self, model: Model, ctx: Context, threshold: int, microsoft: bool, accuracy_level: int
    ) -> None:
        self.model, self.ctx, self.threshold = model, ctx, threshold
        self.scope, self.codes = Scope(model), Codes(model, ctx)
        self.products = Products(model, self.scope, self.codes, accuracy_level)
        self.microsoft = microsoft
        self.made: dict[tuple[str, int, bool], gs.Tensor] = {}

    def write(self, node: gs.Node, index: int) -> None:
        """Let input *index* of *node* read what its weight's codes stand for."""
        weight, op = node.inputs[index], node.op
        blocks, folds = self.ctx.blocks[weight.name], self.ctx.target.folds_casts
        if (
            self.microsoft
            and blocks.nested is None
            and (
                self.products.as_nbits(node, index, weight, blocks)
                or self.products.as_rows(node, weight, blocks)
            )
        ):
            return
        large = 4 * int(np.prod(weight.shape)) >= self.threshold
        if op == "Gather" and large and blocks.count == 1 and blocks.dtype.bits >= 8:
            self._gather(node, weight, blocks)
            return
        large &= blocks.dtype.bits <= _PRODUCT_BITS
        plain = op == "Gemm" and not attribute(node, "transA", 0) and blocks.nested is None
        if plain and large and folds:
            self._product(node, weight, blocks)
            return
        product = op == "MatMul" and index == 1 and len(weight.shape) == 2
        make = self._cast if folds and not (large and product) else self._dequantize
        key = (weight.name, id(self.scope.graph(node)), make is self._cast)
        if key not in self.made:
            self.made[key] = make(node, weight, blocks)
        replace_input(node, index, self.made[key])

    def _dequantize(self, node: gs.Node, weight: gs.Tensor, blocks: Blocks) -> gs.Tensor:
        """DequantizeLinear, by rows where a row is one block."""
        name, shape = weight.name, tuple(int(d) for d in weight.shape)
        scale, zero = blocks.scale, blocks.zero_point
        attrs: dict[str, Any] = {"axis": blocks.axis, "block_size": blocks.size}
        view = (*shape[: blocks.axis], -1) if blocks.flat else shape
        kept = [axis for axis, d in enumerate(scale.shape) if d > 1]
        if blocks.count == 1 and len(kept) <= 1:
            attrs = {"axis": kept[0] if kept else 0}
            scale, zero = scale.reshape(-1), zero.reshape(-1)
            view = shape
        view = tuple(int(np.prod(shape[blocks.axis :])) if d == -1 else d for d in view)
        inputs = [self.codes.of(weight, view), self._scale(node, name, blocks, scale)]
        if zero.any():
            stored = zero.astype(blocks.stored)
            inputs.append(self.codes.constant(f"{name}__zero_point", stored))
        real = self._node(node, "DequantizeLinear", inputs, f"{name}__dq", attrs)
        return real if view == shape else self._shaped(node, real, f"{name}__shaped", shape)

    def _cast(self, node: gs.Node, weight: gs.Tensor, blocks: Blocks) -> gs.Tensor:
        """Cast and Mul, which are computed at load."""
        name, shape = weight.name, tuple(int(d) for d in weight.shape)
        lead = shape[: blocks.axis]
        behind = () if blocks.flat else shape[blocks.axis + 1 :]
        whole = blocks.count == 1
        length = int(np.prod(shape[blocks.axis :])) if blocks.flat else shape[blocks.axis]
        if whole:
            wide = shape
            scaled = (*lead, 1, *behind, *(1 for _ in shape[len(lead) + 1 + len(behind) :]))
        elif length % blocks.size:
            return self._dequantize(node, weight, blocks)
        else:
            wide = (*lead, blocks.count, blocks.size, *behind)
            scaled = (*lead, blocks.count, 1, *behind)
        real = self._node(
            node, "Cast", [self.codes.of(weight, wide)], f"{name}__cast", {"to": _FLOAT}
        )
        if blocks.zero_point.any():
            zero = blocks.zero_point.reshape(scaled).astype(blocks.stored)
            inputs = [self.codes.constant(f"{name}__zero_point", zero)]
            off = self._node(node, "Cast", inputs, f"{name}__zero", {"to": _FLOAT})
            real = self._node(node, "Sub", [real, off], f"{name}__sub")
        scale = self._scale(node, name, blocks, blocks.scale.reshape(scaled))
        real = self._node(node, "Mul", [real, scale], f"{name}__dq")
        return real if wide == shape else self._shaped(node, real, f"{name}__shaped", shape)

    def _scale(
        self, node: gs.Node, name: str, blocks: Blocks, scale: NDArray[np.float32]
    ) -> gs.Tensor:
        """The scales *scale* of the weight *name*, made of codes where they have any."""
        if blocks.nested is None:
            return self.codes.constant(f"{name}__scale", scale)
        nested, axis = blocks.nested, blocks.axis
        label = f"{name}__scale"
        if not self.ctx.target.folds_casts:
            inputs = [
                self.codes.constant(f"{label}_codes", nested.codes),
                self.codes.constant(f"{label}_scale", nested.outer),
            ]
            attrs = {"axis": axis, "block_size": nested.size}
            found = self._node(node, "DequantizeLinear", inputs, label, attrs)
            wide = nested.codes.shape
        else:
            wide = (*nested.outer.shape[: axis + 1], nested.size, *nested.outer.shape[axis + 1 :])
            codes = self.codes.constant(f"{label}_codes", nested.codes.reshape(wide))
            outer = np.expand_dims(nested.outer, axis + 1)
            found = self._node(node, "Cast", [codes], f"{label}_cast", {"to": _FLOAT})
            scales = self.codes.constant(f"{label}_scale", outer)
            found = self._node(node, "Mul", [found, scales], label)
        return (
            found
            if wide == scale.shape
            else self._shaped(node, found, f"{label}_shaped", scale.shape)
        )

    def _gather(self, node: gs.Node, weight: gs.Tensor, blocks: Blocks) -> None:
        """Take codes and scales of the rows, then convert these."""
        name, own = weight.name, node.name
        lead = tuple(int(d) for d in weight.shape[:1])
        rank = (1,) * (len(weight.shape) - 1)
        scale = self.codes.constant(f"{name}__scale", blocks.scale.reshape(*lead, *rank))
        shape = tuple(int(d) for d in weight.shape)
        indices, result = node.inputs[1], node.outputs[0]
        rows = []
        for table, what in ((self.codes.of(weight, shape), "codes"), (scale, "scales")):
            rows.append(self._node(node, "Gather", [table, indices], f"{own}__{what}", {"axis": 0}))
        real = self._node(node, "Cast", [rows[0]], f"{own}__cast", {"to": _FLOAT})
        zero = blocks.zero_point
        if zero.any():
            stored = zero.reshape(*lead, *rank).astype(np.float32)
            table = self.codes.constant(f"{name}__zero_point", stored)
            off = self._node(node, "Gather", [table, indices], f"{own}__zeros", {"axis": 0})
            real = self._node(node, "Sub", [real, off], f"{own}__sub")
        node.outputs.clear()
        node.name = ""
        self.scope.insert(node, "Mul", [real, rows[1]], [result], name=own)
        self.scope.remove(node)

    def _product(self, node: gs.Node, weight: gs.Tensor, blocks: Blocks) -> None:
        """A Gemm as MatMul and Add, its weight as [values, channels]."""
        label = f"{node.name}__weight"
        turned = bool(attribute(node, "transB", 0))
        shape = tuple(int(d) for d in weight.shape)
        scale, zero = blocks.scale * np.float32(attribute(node, "alpha", 1.0)), blocks.zero_point
        if turned:
            shape, scale, zero = shape[::-1], scale.T, zero.T
        turn, as_ = (np.transpose, "_turned") if turned else (None, "")
        attrs: dict[str, Any] = {"axis": 0, "block_size": blocks.size}
        if blocks.count == 1:
            attrs, scale, zero = {"axis": 1}, scale.reshape(-1), zero.reshape(-1)
        inputs: list[gs.Tensor] = [
            self.codes.of(weight, shape, turn, as_),
            self.codes.constant(f"{label}_scale", scale),
        ]
        if zero.any():
            stored = zero.astype(blocks.stored)
            inputs.append(self.codes.constant(f"{label}_zero_point", stored))
        real = self._node(node, "DequantizeLinear", inputs, f"{label}_dq", attrs)
        self.products.replace(node, "MatMul", [node.inputs[0], real])

    def _shaped(
        self, node: gs.Node, real: gs.Tensor, name: str, shape: tuple[int, ...]
    ) -> gs.Tensor:
        target = self.codes.constant(f"{name}__to", np.array(shape, np.int64))
        return self._node(node, "Reshape", [real, target], name)

    def _node(
        self, beside: gs.Node, op: str, inputs: list[gs.Tensor], name: str,
        attrs: dict[str, Any] | None = None,
    ) -> gs.Variable:  # fmt: skip
        """A node of type *op* in the graph of *beside*, with a result called *name*."""
        result = gs.Variable(self.model.unique_name(name))
        label = self.model.unique_name(f"{name}_node")
        self.scope.insert(beside, op, inputs, [result], attrs, name=label)
        return result
