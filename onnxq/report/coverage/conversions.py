"""What a QuantizeLinear or DequantizeLinear says: its scale, its zero point and its type."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from onnxq.report.groups import DEQUANTIZE, QUANTIZE
from onnxq.report.nodes import Graph

UINT8, INT8, INT32 = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32
BYTES = (UINT8, INT8)
WORDS = (TensorProto.UINT16, TensorProto.INT16)


@dataclass(frozen=True)
class Conversion:
    """A QuantizeLinear or DequantizeLinear.

    Attributes:
        node: it.
        dtype: element type of its codes as the model has it; 0 where not known.
        runs: that type as it runs: x86 turns int8 into uint8 where one node reads the codes.
        scale: None where it is computed in the run.
        zero: None where it is absent, or computed in the run.
        readers: how often the codes are read.
        axis: the axis of scales per channel.
        block: elements of a block along that axis; 0 for none.
    """

    node: NodeProto
    dtype: int
    runs: int
    scale: NDArray[Any] | None
    zero: NDArray[Any] | None
    readers: int
    axis: int
    block: int

    @property
    def has_zero(self) -> bool:
        """Whether a zero point is written down, or computed."""
        return len(self.node.input) > 2 and bool(self.node.input[2])

    @property
    def scales(self) -> int:
        """How many scales there are; 1 where that is not known."""
        return 1 if self.scale is None else self.scale.size

    def same(self, other: Conversion) -> bool:
        """Whether both have one and the same scale, zero point and type."""
        if self.scale is None or other.scale is None:
            return list(self.node.input[1:]) == list(other.node.input[1:])
        a, b = self._zeros(), other._zeros()
        return (
            self.dtype == other.dtype
            and self.scale.tobytes() == other.scale.tobytes()
            and a == b
        )  # fmt: skip

    def _zeros(self) -> bytes:
        return b"" if self.zero is None or not self.zero.any() else self.zero.tobytes()


def type_text(dtype: int) -> str:
    """``uint8``."""
    return TensorProto.DataType.Name(dtype).lower() if dtype else "an unknown type"


class Reader:
    """Reads conversions off a model's main graph.

    Attributes:
        graph: the graph by tensor name.
        int8: whether the runtime has kernels for int8 activations (Arm).
    """

    def __init__(self, model: onnx.ModelProto, int8: bool) -> None:
        self.graph, self.int8 = Graph(model), int8
        self._known: dict[str, Conversion] = {}
        self._types = {
            v.name: v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)
        }

    def conversion(self, node: NodeProto) -> Conversion:
        """What *node*, a QuantizeLinear or DequantizeLinear, says."""
        if node.output[0] not in self._known:
            self._known[node.output[0]] = self._read(node)
        return self._known[node.output[0]]

    def _read(self, node: NodeProto) -> Conversion:
        given = {a.name: a for a in node.attribute}
        codes = node.output[0] if node.op_type == QUANTIZE else node.input[0]
        zero = self.value(node.input[2]) if len(node.input) > 2 else None
        dtype = self._type(codes)
        readers = self._readers(codes)
        above = self.graph.producer.get(codes)
        # ONNX Runtime, QDQS8ToU8: a scalar zero point, and a single DequantizeLinear
        flips = (
            not self.int8
            and dtype == INT8
            and above is not None
            and above.op_type == QUANTIZE
            and readers == 1
            and zero is not None
            and zero.size == 1
        )
        return Conversion(
            node, dtype, UINT8 if flips else dtype, self.value(node.input[1]), zero, readers,
            given["axis"].i if "axis" in given else 1,
            given["block_size"].i if "block_size" in given else 0,
        )  # fmt: skip

    def given(self, name: str, across: Collection[str]) -> Conversion | None:
        """The DequantizeLinear that the tensor *name* comes from, behind operators *across*."""
        above = self.graph.producer.get(name)
        while above is not None and above.op_type in across:
            above = self.graph.producer.get(above.input[0])
        return None if above is None or above.op_type != DEQUANTIZE else self.conversion(above)

    def value(self, name: str) -> NDArray[Any] | None:
        """The stored tensor *name*; None where it is absent or computed."""
        tensor = self._stored(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def _stored(self, name: str) -> TensorProto | None:
        tensor = self.graph.initializers.get(name)
        above = self.graph.producer.get(name)
        if tensor is None and above is not None and above.op_type == "Constant":
            return next((a.t for a in above.attribute if a.name == "value"), None)
        return tensor

    def _type(self, codes: str) -> int:
        tensor = self._stored(codes)
        if tensor is not None:
            return int(tensor.data_type)
        above = self.graph.producer.get(codes)
        if above is not None and above.op_type == QUANTIZE:
            if len(above.input) > 2 and (zero := self._stored(above.input[2])) is not None:
                return int(zero.data_type)
            return next((int(a.i) for a in above.attribute if a.name == "output_dtype"), UINT8)
        for user in self.graph.users.get(codes, []):
            if user.op_type == DEQUANTIZE and len(user.input) > 2:
                zero = self._stored(user.input[2])
                if zero is not None:
                    return int(zero.data_type)
        return int(self._types.get(codes, 0))

    def _readers(self, codes: str) -> int:
        """How many nodes read *codes* once each reader of a DequantizeLinear has its own."""
        count = int(codes in self.graph.outputs)
        for user in self.graph.users.get(codes, []):
            if user.op_type != DEQUANTIZE:
                count += 1
                continue
            real = user.output[0]
            edges = sum(
                list(n.input).count(real) or 1 for n in self.graph.users.get(real, [])
            )  # fmt: skip
            count += max(1, edges + (real in self.graph.outputs))
        return count
