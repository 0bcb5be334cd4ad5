"""Tensors between DequantizeLinear and QuantizeLinear, as codes with scales and zero points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, attribute, constant_value, consumers, producer
from onnxq.pipeline.eligibility import clamp

#: What operators on codes compute with; narrower formats are stored in these.
_BYTES = {"int8": "int8", "int4": "int8", "int2": "int8",
          "uint8": "uint8", "uint4": "uint8", "uint2": "uint8"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Coded:
    """Codes of a tensor: real = (code − zero) · scale.

    Attributes:
        codes: the tensor of codes.
        scale: float32 constant of one element, or [n] along *axis*.
        zero: constant of zero points, shaped as *scale*, of the codes' type.
        axis: where there are several scales; None for one.
    """

    codes: gs.Tensor
    scale: gs.Constant
    zero: gs.Constant
    axis: int | None

    @property
    def scales(self) -> NDArray[np.float32]:
        """Values of *scale*: [] or [n]."""
        found = np.asarray(self.scale.values)
        return found.reshape(()) if found.size == 1 else found

    @property
    def zeros(self) -> NDArray[np.generic]:
        """Values of *zero*: [] or [n]."""
        found = np.asarray(self.zero.values)
        return found.reshape(()) if found.size == 1 else found

    @property
    def kind(self) -> str:
        """Name of the codes' type."""
        return str(np.asarray(self.zero.values).dtype.name)

    @property
    def parts(self) -> list[gs.Tensor]:
        """Codes, scale and zero point, as operators on codes read them."""
        return [self.codes, self.scale, self.zero]

    def same_grid(self, other: Coded) -> bool:
        """Whether a code means the same in both."""
        return (
            self.kind == other.kind
            and np.array_equal(self.scales, other.scales)
            and np.array_equal(self.zeros, other.zeros)
        )

    def code(self, real: float) -> int:
        """The code of *real*, as QuantizeLinear makes it; for one scale."""
        info = np.iinfo(self.kind)
        found = np.rint(np.float32(real) / self.scales) + float(self.zeros.item())
        return int(np.clip(found, info.min, info.max))

    def clips_exactly(self, low: float, high: float) -> bool:
        """Whether clipping codes to those of *low* and *high* clips the reals to just these."""
        info = np.iinfo(self.kind)
        below, zero, above = (float(v) for v in (info.min, self.zeros.item(), info.max))
        scale = float(self.scales)
        return all(
            real <= (below - zero) * scale
            or real >= (above - zero) * scale
            or (self.code(real) - zero) * scale == real
            for real in (low, high)
        )


@dataclass(frozen=True, eq=False)
class Written:
    """How a float tensor becomes codes.

    Attributes:
        coded: the codes.
        clamps: Relu and Clip nodes in front of the QuantizeLinear.
        quantizer: the QuantizeLinear.
        low, high: smallest and largest code that the clamps leave: rounding keeps the order.
    """

    coded: Coded
    clamps: tuple[gs.Node, ...]
    quantizer: gs.Node
    low: int
    high: int

    @property
    def clips(self) -> bool:
        """Whether the clamps exclude codes of the format."""
        info = np.iinfo(self.coded.kind)
        return self.low > info.min or self.high < info.max


def read(model: Model, tensor: gs.Tensor) -> Coded | None:
    """The codes that *tensor* was dequantized from; None where it was not, or not by constants."""
    above = producer(tensor)
    if above is None or above.op != "DequantizeLinear" or above.domain:
        return None
    return _coded(model, above, above.inputs[0])


def written(
    model: Model, tensor: gs.Tensor, low: float = -np.inf, high: float = np.inf
) -> Written | None:
    """How *tensor*, clamped to *low* … *high*, is quantized to bytes on one scale.

    None where anything but one QuantizeLinear, behind clamps, reads it.
    """
    clamps: list[gs.Node] = []
    while True:
        users = consumers(tensor)
        if len(users) != 1 or model.is_output(tensor) or users[0][1] != 0:
            return None
        node = users[0][0]
        if node.op == "QuantizeLinear" and not node.domain:
            break
        limits = clamp(node) if node.op in ("Relu", "Clip") else None
        if limits is None:
            return None
        low, high = (min(max(v, limits[0]), limits[1]) for v in (low, high))
        clamps.append(node)
        tensor = node.outputs[0]
    coded = _coded(model, node, node.outputs[0])
    if coded is None or coded.axis is not None or coded.kind not in ("int8", "uint8"):
        return None
    return Written(coded, tuple(clamps), node, coded.code(low), coded.code(high))


def stored(model: Model, coded: Coded | None) -> Coded | None:
    """*coded*, a constant, in bytes where its format is narrower; None where it is no such thing.

    A constant that a Cast widens (see ``pack-weights``) is one too.
    """
    if coded is None or coded.kind not in _BYTES:
        return None
    cast = producer(coded.codes)
    source = coded.codes if cast is None or cast.op != "Cast" else cast.inputs[0]
    value = constant_value(source)
    if value is None or str(value.dtype) not in _BYTES:
        return None
    wide = _BYTES[coded.kind]
    if wide == str(value.dtype):
        return coded
    codes, zero = (
        gs.Constant(model.unique_name(f"{t.name}__{wide}"), np.asarray(t.values).astype(wide))
        for t in (source, coded.zero)
    )
    return Coded(codes, coded.scale, zero, coded.axis)


def _coded(model: Model, node: gs.Node, codes: gs.Tensor) -> Coded | None:
    scale = node.inputs[1]
    zero = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2].name else None
    if constant_value(scale) is None or scale.dtype != np.float32:
        return None
    if attribute(node, "block_size", 0) or attribute(node, "output_dtype", 0):
        return None
    if zero is None:
        known = constant_value(codes)
        kind = np.uint8 if known is None else known.dtype  # what QuantizeLinear writes without one
        if known is None and producer(codes) is None:
            kind = codes.dtype
        zero = gs.Constant(model.unique_name(f"{codes.name}__zero_point"),
                           np.zeros(scale.shape, kind))  # fmt: skip
    if constant_value(zero) is None:
        return None
    axis = None if int(np.prod(scale.shape)) == 1 else int(attribute(node, "axis", 1))
    return Coded(codes, scale, zero, axis)
