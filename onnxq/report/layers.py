"""The layers of a quantized model, each with the node of the float model that it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import constant_value, consumers, producer
from onnxq.quant import QParams, dtype
from onnxq.report.entries import weight_entry
from onnxq.report.groups import DYNAMIC
from onnxq.report.pair import Pair
from onnxq.report.recognised import Matching
from onnxq.report.relaxed import parameters
from onnxq.report.skeleton import COMPUTE, SAME, Skeleton, op_class, weight

_RESHAPES = SAME - {"Cast", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A quantized operator and what became of it.

    Attributes:
        node: its node in the quantized model (QDQ form).
        result: the tensor of the quantized model that it hands on: codes, or floats.
        qparams: parameters of these codes; None where the result is in floats.
        precision: formats of activations and weight, such as ``uint8 × int8``.
        tensor: the tensor of the float model that holds the same values; None if not recognised.
        origin: name of the node of the float model; None if not recognised.
        op_type: its operator; that of *node* where the float model's is not known.
        inputs: tensors of the float model that it reads as codes.
        weights: ranges and scales of its weight, as in the report; None where it has none.
        dynamic: whether its scales are chosen in each run.
        scaled: by what its channels are multiplied, in words; empty where they are not.
        reason: why it was not recognised.
    """

    node: gs.Node
    result: str
    qparams: QParams | None
    precision: str
    tensor: str | None
    origin: str | None
    op_type: str
    inputs: tuple[str, ...] = ()
    weights: dict[str, Any] | None = None
    dynamic: bool = False
    scaled: str = ""
    reason: str = ""


class Floats(QParams):
    """Stands for the parameters of a result in floats: there is nothing to dequantize."""

    def dequantize(self, q: NDArray[np.generic]) -> NDArray[np.float32]:
        """*q* in float32."""
        return np.asarray(q, np.float32)


FLOATS = Floats(np.ones((), np.float32), np.zeros((), np.int64), dtype("int8"))


def find_layers(
    pair: Pair, matching: Matching, names: Mapping[str, str] | None = None
) -> list[Layer]:
    """Quantized operators of the pair, in the order of the quantized model.

    Where *names* maps tensors of the quantized model otherwise than *matching*, which tensors a
    layer reads and hands on is said in these names (see ``equalized``).
    """
    return list(_Finder(pair, matching, matching.tensors if names is None else names).layers())


class _Finder:
    def __init__(self, pair: Pair, matching: Matching, names: Mapping[str, str]) -> None:
        self.pair, self.matching, self.names = pair, matching, names
        self.real, self.found = Skeleton(pair.original), Skeleton(pair.qdq)
        self.real_tensors = pair.original.tensors()
        self.named: set[str] = set()

    def layers(self) -> Iterator[Layer]:
        ends: dict[int, tuple[gs.Tensor, QParams | None]] = {}
        order: dict[int, gs.Node] = {}
        for node in self.pair.qdq.graph.nodes:
            if node.op == "QuantizeLinear" and not self.found.constant(node.inputs[0]):
                main = self._main(node.inputs[0])
                if main is not None and id(main) not in ends:
                    qparams = parameters(node)
                    ends[id(main)] = (node.outputs[0], qparams)
                    if qparams is None:
                        real = [u for u, _ in consumers(node.outputs[0])]
                        ends[id(main)] = (real[0].outputs[0] if real else node.inputs[0], None)
        for node in self.pair.qdq.graph.nodes:
            if id(node) in ends or self._multiplies_codes(node):
                order[id(node)] = node
        for node in order.values():
            end, qparams = ends.get(id(node)) or (self._end(node), None)
            yield self._layer(node, end, qparams)

    def _main(self, source: gs.Tensor) -> gs.Node | None:
        """The operator whose result *source* is: one that multiplies, or else the last."""
        above = producer(source)
        if above is not None and above.op in _RESHAPES and _codes(above.inputs[0]) is not None:
            return above
        heads = self.found.heads(source)
        multiplies = (h.node for h in heads if h.kind in COMPUTE)
        return next(multiplies, heads[0].node if heads else None)

    def _multiplies_codes(self, node: gs.Node) -> bool:
        if op_class(node) not in COMPUTE:
            return False
        return node.op in (*DYNAMIC, "MatMulNBits") or any(map(_codes, node.inputs[:3]))

    def _end(self, node: gs.Node) -> gs.Tensor:
        """The first tensor behind *node* that is recognised, its own result where none is.

        The last, where several are the same: what a small bias is added to looks like the sum.
        """
        tensor, known = node.outputs[0], self.matching.tensors
        while True:
            users = [user for user, _ in consumers(tensor)]
            found = known.get(tensor.name)
            if len(users) != 1 or len(self.found.activations(users[0])) != 1:
                return node.outputs[0] if found is None else tensor
            behind = users[0].outputs[0]
            if found is not None and (found != known.get(behind.name) or users[0].op != "Add"):
                return tensor
            tensor = behind

    def _layer(self, node: gs.Node, end: gs.Tensor, qparams: QParams | None) -> Layer:
        real = self.matching.tensors.get(end.name)
        origin = None if real is None else self._origin(node, real)
        name = None if origin is None else origin.name
        if name in self.named:  # one float node became two
            name, origin = node.name, None
        self.named.add(str(name))
        reason = ""
        if real is None:
            reason = self.matching.unmatched.get(end.name, "")
            if not reason:
                reason = "what it computes is no tensor of the float model"
        return Layer(
            node=node, result=end.name, qparams=qparams, precision=self._precision(node),
            tensor=self.names.get(end.name), origin=name,
            op_type=node.op if origin is None else origin.op,
            inputs=self._inputs(node), weights=self._weights(node, origin),
            dynamic=node.op in DYNAMIC, scaled=self._scaled(end.name), reason=reason,
        )  # fmt: skip

    def _scaled(self, name: str) -> str:
        """By what the channels of the tensor *name* are multiplied, and who says so."""
        factors = self.matching.factors.get(name)
        if factors is None:
            return ""
        source = "estimated on one sample" if name in self.matching.estimated else "noted in it"
        return f"{factors.min():.3g} … {factors.max():.3g} ({source})"

    def _origin(self, node: gs.Node, real: str) -> gs.Node | None:
        """The node of the float model that *node* was made from, known by its result *real*."""
        tensor = self.real_tensors[real]
        heads = self.real.heads(tensor)
        if node.op in _RESHAPES:
            return producer(tensor)
        same = (h.node for h in heads if h.kind == op_class(node))
        return next(same, heads[0].node if heads else producer(tensor))

    def _precision(self, node: gs.Node) -> str:
        """Formats of what *node* reads: activations, then weights."""
        if node.op in DYNAMIC:
            return "uint8 × int8, scaled for each run"
        found: list[str] = []
        inputs = [t for t in node.inputs[:3] if not t.is_empty()]
        data = inputs[:2] if op_class(node) in ("Conv", "ConvTranspose", "MatMul") else inputs
        for tensor in data:
            codes = _codes(tensor)
            if codes is None:
                if not self.found.constant(tensor) and "float" not in found:
                    found.append("float")
            elif (name := self._format(codes)) not in found:
                found.append(name)
        return " × ".join(found) or "float"

    def _inputs(self, node: gs.Node) -> tuple[str, ...]:
        known = self.names
        names = [t.name for t in self.found.activations(node) if _codes(t) is not None]
        return tuple(dict.fromkeys(known[n] for n in names if n in known))

    def _weights(self, node: gs.Node, origin: gs.Node | None) -> dict[str, Any] | None:
        """Ranges of the float weight, of the integers where the weight was changed before."""
        tensor = weight(node, self.found)
        above = None if tensor is None else producer(tensor)
        if tensor is None or above is None or above.op != "DequantizeLinear":
            return None
        stored, qparams = constant_value(above.inputs[0]), parameters(above)
        if stored is None or qparams is None or stored.ndim < 2:
            return None
        values = qparams.dequantize(stored)
        real = None if origin is None else weight(origin, self.real)
        given = None if real is None else constant_value(real)
        if given is not None and given.shape == values.shape:
            steps = np.abs(given - values) / qparams.along(values.ndim)[0]
            values = given if float(np.median(steps)) < 2 else values
        return weight_entry(tensor.name if real is None else real.name, values, qparams)

    def _format(self, codes: gs.Tensor) -> str:
        above = producer(codes)
        zero = above.inputs[2] if above is not None and len(above.inputs) > 2 else codes
        for tensor in (codes, zero):
            if tensor.dtype is not None:
                return (
                    str(np.dtype(tensor.dtype))
                    if isinstance(tensor.dtype, type | np.dtype)
                    else str(tensor.dtype)
                )
        return "uint8"


def _codes(tensor: gs.Tensor) -> gs.Tensor | None:
    """The codes that *tensor* was dequantized from; None where it was not."""
    above = producer(tensor)
    while above is not None and above.op in SAME - {"DequantizeLinear"}:
        tensor = above.inputs[0]
        above = producer(tensor)
    return above.inputs[0] if above is not None and above.op == "DequantizeLinear" else None
