"""A model as lint rules look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import onnx
from onnx import NodeProto

from onnxq.report.coverage.conversions import Conversion, Reader
from onnxq.report.groups import DEQUANTIZE, PRODUCTS, QUANTIZE

STANDARD = ("", "ai.onnx")
#: Runtimes move conversions across these.
MOVES = frozenset({
    "Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip

Effect = Literal["refused", "float", "elsewhere", "wrong"]


@dataclass(frozen=True)
class Product:
    """A node that multiplies and accumulates.

    Attributes:
        node: it.
        input, weight: the DequantizeLinear of its first two inputs; None where they are in float.
    """

    node: NodeProto
    input: Conversion | None
    weight: Conversion | None


class View:
    """Q/DQ nodes and products of a model; all of its nodes have names."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.reader = Reader(model, int8=True)
        self.graph = self.reader.graph

    @property
    def opset(self) -> int:
        """Opset of the default domain."""
        return self.graph.opset

    def conversions(self) -> Iterator[Conversion]:
        """QuantizeLinear and DequantizeLinear nodes."""
        for node in self.graph.nodes:
            if node.op_type in (QUANTIZE, DEQUANTIZE):
                yield self.reader.conversion(node)

    def on_weight(self, conversion: Conversion) -> bool:
        """Whether it converts a constant."""
        return self.graph.constant(conversion.node.input[0])

    def products(self) -> Iterator[Product]:
        """Nodes that multiply and accumulate."""
        for node in self.graph.nodes:
            if node.op_type in PRODUCTS and node.domain in STANDARD:
                given = (self.reader.given(name, MOVES) for name in node.input[:2])
                yield Product(node, *given)

    def is_quantized(self, name: str) -> bool:
        """Whether the tensor *name*, or what limits it, is quantized."""
        users = self.graph.users.get(name, [])
        limited = (n.output[0] for n in users if n.op_type in ("Relu", "Clip"))
        return any(n.op_type == QUANTIZE for n in users) or any(map(self.is_quantized, limited))

    def rank(self, name: str) -> int:
        """Rank of the stored tensor *name*; 0 where it is not stored."""
        value = self.reader.value(name)
        return 0 if value is None else value.ndim


def attribute(node: NodeProto, name: str, default: int) -> int:
    """The integer attribute *name* of *node*."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)
