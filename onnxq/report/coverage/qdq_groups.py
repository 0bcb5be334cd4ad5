"""Groups that could be integer kernels: DequantizeLinear, an operator, QuantizeLinear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import NodeProto

from onnxq.report.coverage.conversions import Conversion, Reader
from onnxq.report.groups import DEQUANTIZE, PRODUCTS, QUANTIZE

#: ONNX Runtime moves Q/DQ across these before it looks for groups.
_CROSSED = frozenset({"MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
#: What is no work: conversions, and what the optimizer takes out.
_NONE = frozenset({QUANTIZE, DEQUANTIZE, "Dropout", "Identity"})
#: Which inputs of an operator are data; of all others the first.
_DATA = {
    "Conv": (0, 1, 2), "ConvTranspose": (0, 1, 2), "Gemm": (0, 1, 2), "MatMul": (0, 1),
    "Add": (0, 1), "Sub": (0, 1), "Mul": (0, 1), "Div": (0, 1), "Pow": (0, 1), "Where": (1, 2),
}  # fmt: skip


@dataclass(frozen=True)
class Operand:
    """A data input of a group.

    Attributes:
        index: which input of the node.
        name: its tensor.
        conversion: the DequantizeLinear that it comes from; None where it is in float.
        constant: whether no input of the model reaches it.
    """

    index: int
    name: str
    conversion: Conversion | None
    constant: bool


@dataclass(frozen=True)
class Result:
    """An output of a group.

    Attributes:
        name: the tensor that is quantized, behind the clamps; that of the node where none is.
        clamps: Relu and Clip nodes between the node and its QuantizeLinear.
        quantizers: what quantizes it.
        others: operators that read it in float, as ``Neg 'neg1'``.
        model_output: whether it is also an output of the model, in float.
    """

    name: str
    clamps: tuple[NodeProto, ...]
    quantizers: tuple[Conversion, ...]
    others: tuple[str, ...]
    model_output: bool


@dataclass(frozen=True)
class QdqGroup:
    """An operator that reads dequantized codes, and what surrounds it.

    Attributes:
        node: the operator.
        operands: its data inputs.
        results: its outputs.
        became: the operator in the optimized graph; "" where it is not there.
        opset: of the model.
        reader: the model.
    """

    node: NodeProto
    operands: tuple[Operand, ...]
    results: tuple[Result, ...]
    became: str
    opset: int
    reader: Reader

    @property
    def op(self) -> str:
        """The operator."""
        return str(self.node.op_type)

    def operand(self, index: int) -> Operand | None:
        """The data input *index*; None where it is absent."""
        return next((o for o in self.operands if o.index == index), None)

    def given(self, index: int) -> Conversion | None:
        """The DequantizeLinear of input *index*."""
        operand = self.operand(index)
        return None if operand is None else operand.conversion

    @property
    def sources(self) -> list[Conversion]:
        """The DequantizeLinear nodes of its inputs."""
        return [o.conversion for o in self.operands if o.conversion is not None]

    @property
    def quantizers(self) -> list[Conversion]:
        """The QuantizeLinear nodes of its outputs."""
        return [q for r in self.results for q in r.quantizers]

    def attribute(self, name: str, default: Any) -> Any:
        """The attribute *name* of the node."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        return default if found is None else onnx.helper.get_attribute_value(found)

    def value(self, name: str) -> NDArray[Any] | None:
        """The stored tensor *name*; None where it is computed."""
        return self.reader.value(name)


def find_qdq_groups(became: dict[str, str], reader: Reader) -> Iterator[QdqGroup]:
    """The groups of *reader*'s model; *became* has operators of the optimized graph by node."""
    graph = reader.graph
    for node in graph.nodes:
        if node.op_type in _NONE or node.domain not in ("", "ai.onnx"):
            continue
        if all(graph.constant(name) for name in node.output if name):
            continue
        operands = tuple(_operands(node, reader))
        if not any(o.conversion for o in operands):
            continue
        results = tuple(_result(name, reader) for name in node.output[: _outputs(node)] if name)
        group = QdqGroup(node, operands, results, became.get(node.name, ""), graph.opset, reader)
        # products are groups even where only their input is quantized
        if group.quantizers or group.op in PRODUCTS:
            yield group


def _outputs(node: NodeProto) -> int:
    return len(node.output) if node.op_type == "Split" else 1


def _operands(node: NodeProto, reader: Reader) -> Iterator[Operand]:
    count = len(node.input)
    indices = range(count) if node.op_type == "Concat" else _DATA.get(node.op_type, (0,))
    for index in indices:
        if index < count and node.input[index]:
            name = node.input[index]
            known = reader.given(name, _CROSSED)
            yield Operand(index, name, known, reader.graph.constant(name))


def _result(name: str, reader: Reader) -> Result:
    graph = reader.graph
    first = name
    clamps: list[NodeProto] = []
    others: list[str] = []
    output = False
    while True:
        users = graph.users.get(name, [])
        output |= name in graph.outputs
        found = [u for u in users if u.op_type == QUANTIZE and u.input[0] == name]
        if found:
            others += [_text(u) for u in users if not any(u is q for q in found)]
            conversions = tuple(reader.conversion(q) for q in found)
            return Result(name, tuple(clamps), conversions, tuple(others), output)
        on = next((u for u in users if u.op_type in ("Relu", "Clip", *_CROSSED)), None)
        if on is None or on.input[0] != name or not _quantized_later(on, graph):
            return Result(first, (), (), (), first in graph.outputs)
        others += [_text(u) for u in users if u is not on]
        if on.op_type in ("Relu", "Clip"):
            clamps.append(on)
        name = on.output[0]


def _quantized_later(node: NodeProto, graph: Any) -> bool:
    """Whether a QuantizeLinear follows *node*, with nothing but clamps and moves between."""
    for user in graph.users.get(node.output[0], []):
        if user.op_type == QUANTIZE:
            return True
        clamp = user.op_type in ("Relu", "Clip", *_CROSSED) and user.input[0] == node.output[0]
        if clamp and _quantized_later(user, graph):
            return True
    return False


def _text(node: NodeProto) -> str:
    return f"{node.op_type} '{node.name or node.output[0]}'"
