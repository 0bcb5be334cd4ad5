"""A quantized model without the rounding of its activations, run on one sample.

Of each QuantizeLinear on an activation only the saturation is kept, which often stands for a Relu;
weights keep their integers. What is left of the error comes from weights and clipping alone, so
that a tensor can be recognised by its values however coarse the codes are. Tensors that are
recognised are replaced by the float model's own, so that errors do not add up along the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from onnxq.graph import Model, constant_value, consumers
from onnxq.quant import QParams, dtype
from onnxq.quant.dtypes import FLOATS
from onnxq.runtime.session import Session
from onnxq.runtime.taps import computed, drop_outputs

Values = dict[str, NDArray[Any]]

#: Operators that take codes as they take floats.
MOVES = frozenset({
    "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split",
    "Gather", "Identity", "DepthToSpace", "SpaceToDepth", "Expand", "Tile", "Resize",
})  # fmt: skip
_OWN = "__onnxq_own"

_FLOATS = {kind.numpy: kind for kind in FLOATS.values()}


@dataclass(frozen=True)
class Position:
    """An activation that is quantized: the tensor before its QuantizeLinear, and its codes."""

    source: str
    codes: str
    qparams: QParams | None
    node: gs.Node

    def variants(self, x: NDArray[Any]) -> list[NDArray[Any]]:
        """What *x* is behind the saturation: with both limits, and with that at zero alone."""
        if self.qparams is None:
            return [x]
        low, high = self.qparams.real_range
        found = [np.clip(x, low, high)]
        if low == 0.0:
            found.append(np.maximum(x, 0))
        return found


def parameters(quantize: gs.Node) -> QParams | None:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear.

    None where they are computed, or in blocks.
    """
    scale = constant_value(quantize.inputs[1])
    stored = constant_value(quantize.inputs[2]) if len(quantize.inputs) > 2 else None
    if scale is None or scale.ndim > 1 or (len(quantize.inputs) > 2 and stored is None):
        return None
    codes = constant_value(quantize.inputs[0])  # of a DequantizeLinear
    own = None if codes is None else _FLOATS.get(codes.dtype)
    kind = np.uint8 if codes is None or codes.dtype.kind == "f" or own else codes.dtype
    zero = np.zeros(scale.shape, kind) if stored is None or own else stored
    if zero.dtype.kind not in "iu" and zero.dtype.name not in ("int4", "uint4", "int2", "uint2"):
        return None
    axis = int(quantize.attrs.get("axis", 1)) if scale.size > 1 else None
    if axis is None:
        scale, zero = scale.reshape(()), zero.reshape(())
    own = own or dtype(str(zero.dtype))
    return QParams(scale.astype(np.float32), zero.astype(np.int64), own, axis=axis)


def positions(model: Model, constants: set[str]) -> list[Position]:
    """Quantized activations of *model* in order; names of its *constants* are left out."""
    return [
        Position(n.inputs[0].name, n.outputs[0].name, parameters(n), n)
        for n in model.graph.nodes
        if n.op == "QuantizeLinear" and n.inputs[0].name not in constants
    ]


class Relaxed:
    """The relaxed form of a quantized model.

    Attributes:
        positions: quantized activations whose rounding is gone, by the name of their codes.
        floats: names of those codes, and of what moves them: they are floats here.
    """

    def __init__(self, model: Model, constants: set[str]) -> None:
        by_codes = {p.codes: p for p in positions(model, constants)}
        self.floats: set[str] = set()
        self.positions: dict[str, Position] = {}
        for node in model.graph.nodes:
            if node.op == "QuantizeLinear" and node.outputs[0].name in by_codes:
                if _movable(node.outputs[0]):
                    name = node.outputs[0].name
                    self.positions[name] = by_codes[name]
                    self.floats.add(name)
            elif node.op in MOVES and any(t.name in self.floats for t in node.inputs):
                self.floats.update(t.name for t in node.outputs)
        self._proto, self._opset = model.to_proto(), model.opset
        del self._proto.graph.value_info[:]
        for node in self._proto.graph.node:
            if node.op_type == "QuantizeLinear" and node.output[0] in self.positions:
                self._relax(node)
            elif node.op_type == "DequantizeLinear" and node.input[0] in self.floats:
                _make(node, "Identity", [node.input[0]])
        drop_outputs(self._proto, [])

    def _relax(self, node: onnx.NodeProto) -> None:
        position = self.positions[node.output[0]]
        _make(node, "Identity", [node.input[0]])
        if position.qparams is not None:
            limits = position.qparams.real_range
            if self._opset < 11:
                _make(node, "Clip", [node.input[0]])
                for end, value in zip(("min", "max"), limits, strict=True):
                    node.attribute.append(helper.make_attribute(end, value))
                return
            names = [f"{node.output[0]}__onnxq_{end}" for end in ("low", "high")]
            scale = constant_value(position.node.inputs[1])
            kind = np.float32 if scale is None else scale.dtype
            for name, value in zip(names, limits, strict=True):
                tensor = numpy_helper.from_array(np.array(value, kind), name)
                self._proto.graph.initializer.append(tensor)
            _make(node, "Clip", [node.input[0], *names])

    def run(self, feed: Mapping[str, NDArray[Any]], known: Mapping[str, NDArray[Any]]) -> Values:
        """Every computed tensor for *feed*, those in *known* having these values for all readers.

        Raises:
            UnsupportedModelError, DataError: ONNX Runtime cannot run it.
        """
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        names = {}
        for node in proto.graph.node:
            for i, name in enumerate(node.output):
                if name in known:
                    node.output[i] = names[name] = name + _OWN
        for name in names:
            value = known[name]
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            proto.graph.input.append(helper.make_tensor_value_info(name, kind, value.shape))
        return run_all(proto, {**feed, **{n: known[n] for n in names}}, _OWN)


def run_all(proto: onnx.ModelProto, feed: Mapping[str, NDArray[Any]], suffix: str = "") -> Values:
    """Every tensor that the main graph of *proto* computes for *feed*; *suffix* is cut off."""
    taps = list(computed(proto))
    there = {o.name for o in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in taps if n not in there)
    session = Session(proto, optimize=False)
    wanted = {i.name for i in session.inputs}
    found = session.run({n: v for n, v in feed.items() if n in wanted}, taps)
    return {
        (n.removesuffix(suffix) if suffix else n): v
        for n, v in found.items()
        if isinstance(v, np.ndarray)
    }


def _movable(codes: gs.Tensor) -> bool:
    """Whether only DequantizeLinear and data movement read *codes*: no integer kernel does."""
    todo = [codes]
    while todo:
        for user, _ in consumers(todo.pop()):
            if user.op in MOVES:
                todo += user.outputs
            elif user.op != "DequantizeLinear":
                return False
    return True


def _make(node: onnx.NodeProto, op: str, inputs: list[str]) -> None:
    node.op_type, node.domain = op, ""
    del node.attribute[:]
    del node.input[:]
    node.input.extend(inputs)
