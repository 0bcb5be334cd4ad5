"""Layers that read stored codes, in place of those that read floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute
from onnxq.passes._scope import Scope, present
from onnxq.passes.emit._codes import Codes
from onnxq.quant.blocks import Blocks
from onnxq.quant.nbits import block_size, pack_blocks, pack_rows

MICROSOFT = "com.microsoft"
_BITS = (2, 4, 8)
_BYTE = np.dtype(np.uint8)


class Products:
    """Writes products, and takes rows of tables, for one run of a pass."""

    def __init__(self, model: Model, scope: Scope, codes: Codes, accuracy_level: int) -> None:
        self.model, self.scope, self.codes = model, scope, codes
        self.accuracy_level = accuracy_level

    def replace(
        self,
        node: gs.Node,
        op: str,
        inputs: Sequence[gs.Tensor],
        attrs: Mapping[str, Any] | None = None,
        domain: str | None = None,
    ) -> None:
        """Put *op* on *inputs* in place of the MatMul or Gemm *node*, and the bias behind it."""
        name, result = node.name, node.outputs[0]
        bias = node.inputs[2] if present(node, 2) else None
        beta = np.float32(attribute(node, "beta", 1.0)) if node.op == "Gemm" else 1
        if bias is not None and beta != 1:
            factor = self.codes.constant(f"{name}__beta", np.asarray(beta))
            scaled = gs.Variable(self.model.unique_name(f"{name}__bias"))
            label = self.model.unique_name(f"{name}__bias_node")
            self.scope.insert(node, "Mul", [bias, factor], [scaled], name=label)
            bias = scaled
        node.outputs.clear()
        node.name = ""
        last = result if bias is None else gs.Variable(self.model.unique_name(f"{name}__product"))
        self.scope.insert(node, op, inputs, [last], attrs, name=name, domain=domain)
        if bias is not None:
            add = self.model.unique_name(f"{name}__add")
            self.scope.insert(node, "Add", [last, bias], [result], name=add)
        self.scope.remove(node)

    def as_nbits(self, node: gs.Node, index: int, weight: gs.Constant, blocks: Blocks) -> bool:
        """Write *node* as MatMulNBits, where it can be one; whether it could."""
        turned = bool(attribute(node, "transB", 0))
        plain = node.op == "MatMul" or (node.op == "Gemm" and not attribute(node, "transA", 0))
        if not plain or index != 1 or len(weight.shape) != 2 or not _whole(blocks):
            return False
        k, n = (int(d) for d in (weight.shape[::-1] if turned else weight.shape))
        size = block_size(k, blocks.size)
        if size is None or blocks.axis != int(turned):
            return False
        bits, signed, count = blocks.dtype.bits, blocks.dtype.signed, -(-k // size)

        def rows(values: Any) -> Any:
            return values if turned else values.T

        packed = self.codes.of(
            weight, (n, count, size * bits // 8),
            lambda codes: pack_blocks(rows(codes), size, bits, signed=signed), "_nbits", _BYTE,
        )  # fmt: skip
        alpha = np.float32(attribute(node, "alpha", 1.0) if node.op == "Gemm" else 1.0)
        repeats = count // blocks.count
        scale = np.repeat(rows(blocks.scale * alpha), repeats, axis=1).reshape(-1)
        inputs = [node.inputs[0], packed, self.codes.constant(f"{node.name}__scale", scale)]
        if not signed:  # without, the middle code stands for zero
            zero = np.repeat(rows(blocks.zero_point), repeats, axis=1)
            stored = pack_rows(zero, bits, signed=signed).reshape(-1)
            inputs.append(self.codes.constant(f"{node.name}__zero_point", stored))
        attrs = {"K": k, "N": n, "bits": bits, "block_size": size,
                 "accuracy_level": self.accuracy_level}  # fmt: skip
        self.replace(node, "MatMulNBits", inputs, attrs, MICROSOFT)
        return True

    def as_rows(self, node: gs.Node, weight: gs.Constant, blocks: Blocks) -> bool:
        """Write the Gather *node* as GatherBlockQuantized, where it can be; whether it could."""
        if node.op != "Gather" or len(weight.shape) != 2 or not _whole(blocks):
            return False
        rows, values = (int(d) for d in weight.shape)
        size = block_size(values, blocks.size)
        bits, signed = blocks.dtype.bits, blocks.dtype.signed
        if size is None or values % size or blocks.axis != 1:
            return False
        table = self.codes.of(
            weight, (rows, values * bits // 8),
            lambda codes: pack_rows(codes, bits, signed=signed), "_rows", _BYTE,
        )  # fmt: skip
        name, repeats = weight.name, values // size // blocks.count
        scale = np.repeat(blocks.scale, repeats, axis=1)
        inputs = [table, node.inputs[1], self.codes.constant(f"{name}__scale", scale)]
        if not signed:  # without, the middle code stands for zero
            zero = pack_rows(np.repeat(blocks.zero_point, repeats, axis=1), bits, signed=signed)
            inputs.append(self.codes.constant(f"{name}__zero_point", zero))
        attrs = {"bits": bits, "block_size": size, "gather_axis": 0, "quantize_axis": 1}
        label, outputs = node.name, list(node.outputs)
        node.outputs.clear()
        node.name = ""
        self.scope.insert(
            node, "GatherBlockQuantized", inputs, outputs, attrs, name=label, domain=MICROSOFT
        )
        self.scope.remove(node)
        return True


def _whole(blocks: Blocks) -> bool:
    """Whether codes are integers of a width that the operators know."""
    return not blocks.dtype.floating and blocks.dtype.bits in _BITS
