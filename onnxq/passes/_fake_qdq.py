"""QuantizeLinear and DequantizeLinear with one grid, which together only round: x̂ = DQ(Q(x)).

A Clip of the codes may lie between the two, where fewer are in use than the type has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, attribute, consumers, producer, remove_node, replace_uses
from onnxq.passes._scope import present
from onnxq.pipeline.trained import TrainedGrid
from onnxq.quant import DTYPES

Value = Callable[[gs.Tensor], NDArray[Any] | None]
"""The value of a tensor that depends on nothing but stored constants; None for others."""
MOST_CODES = 256
"""Codes of an activation that kernels read, at most."""
_DOMAINS = (None, "", "ai.onnx", "com.microsoft")


@dataclass(frozen=True, eq=False)
class Codes:
    """The grid that a QuantizeLinear or DequantizeLinear states.

    Attributes:
        scale: float32, shape [] or [C].
        zero_point: int64, the shape of *scale*.
        axis: the axis that *scale* runs along; None for one scale.
        low, high: the codes that the type has.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int | None
    low: int
    high: int

    def same(self, other: Codes) -> bool:
        """Whether both are one grid."""
        return (
            np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
            and (self.axis, self.low, self.high) == (other.axis, other.low, other.high)
        )

    def along(self, values: NDArray[Any], rank: int) -> NDArray[Any]:
        """*values*, the scale or the zero point, shaped for a tensor of *rank*."""
        if self.axis is None:
            return values
        shape = [1] * rank
        shape[self.axis % rank] = -1
        return values.reshape(shape)

    def quantize(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Codes of *x*, as QuantizeLinear makes them."""
        scale, zero = self.along(self.scale, x.ndim), self.along(self.zero_point, x.ndim)
        codes = np.rint(x.astype(np.float32) / scale).astype(np.float64) + zero
        return np.asarray(np.clip(codes, self.low, self.high), np.int64)


@dataclass(frozen=True, eq=False)
class FakePair:
    """Q, perhaps clips of codes, and DQ.

    Attributes:
        source: what is rounded.
        nodes: its nodes, first to last.
        codes: the grid.
        low, high: the codes that the clips let pass.
    """

    source: gs.Tensor
    nodes: tuple[gs.Node, ...]
    codes: Codes
    low: int
    high: int


def stated(node: gs.Node, value: Value) -> Codes | str:
    """The grid that *node*, a QuantizeLinear or DequantizeLinear, states; or why there is none."""
    if node.domain not in _DOMAINS:
        return f"it is of the domain '{node.domain}'"
    if attribute(node, "block_size", 0):
        return "its scales are in blocks"
    scale = value(node.inputs[1])
    zero = value(node.inputs[2]) if present(node, 2) else None
    if scale is None or (zero is None and present(node, 2)):
        return "its scale or zero point is computed while the model runs"
    kind = "uint8" if zero is None else str(zero.dtype)
    if zero is None and node.op == "DequantizeLinear":
        kind = str(node.inputs[0].dtype or "uint8")
    if kind not in DTYPES:
        return f"its codes are {kind}"
    scale = np.asarray(scale, np.float32)
    if not (scale > 0).all():
        return "its scale is not positive"
    known = DTYPES[kind]
    points = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    axis = None if scale.size == 1 else int(attribute(node, "axis", 1))
    if scale.ndim > 1:
        return "its scales are in blocks"
    if axis is None:
        scale, points = scale.reshape(()), points.reshape(())
    return Codes(scale, points, axis, known.qmin, known.qmax)


def fake_pair(last: gs.Node, value: Value) -> FakePair | str:
    """What *last*, a DequantizeLinear, ends; or why it is no fake quantization."""
    codes = stated(last, value)
    if isinstance(codes, str):
        return codes
    low, high = codes.low, codes.high
    nodes, above = [last], producer(last.inputs[0])
    while above is not None and above.op in ("Clip", "Min", "Max"):
        limits = _limits(above, value)
        if limits is None:
            return f"the bounds of '{above.name}' before it are computed while the model runs"
        low, high = max(low, limits[0]), min(high, limits[1])
        nodes.insert(0, above)
        above = producer(above.inputs[0])
    if above is None or above.op != "QuantizeLinear":
        return "no QuantizeLinear stands before it"
    first = stated(above, value)
    if isinstance(first, str):
        return first
    if not first.same(codes):
        return f"its scale or zero point is another than that of '{above.name}'"
    return FakePair(above.inputs[0], (above, *nodes), codes, low, high)


def why_apart(found: FakePair) -> str:
    """Why no integer kernel can take over *found*, on an activation; empty where one can."""
    if found.codes.axis is not None:
        return "a grid for each channel"
    if found.high - found.low >= MOST_CODES:
        return f"a grid of {found.high - found.low + 1} codes"
    return ""


def trained_grid(found: FakePair) -> TrainedGrid:
    """The grid of *found*, on an activation of one scale."""
    return TrainedGrid(float(found.codes.scale), int(found.codes.zero_point), found.low, found.high)


def remove_pair(model: Model, found: FakePair) -> None:
    """Take out the DequantizeLinear, and what of the nodes before it nothing else reads."""
    replace_uses(model, found.nodes[-1].outputs[0], found.source)
    for node in reversed(found.nodes):
        if consumers(node.outputs[0]) or model.is_output(node.outputs[0]):
            break
        remove_node(model, node)


def _limits(node: gs.Node, value: Value) -> tuple[int, int] | None:
    """What a Clip, Min or Max of codes lets pass."""
    ends = [-(2**31), 2**31]
    slots = {"Clip": (0, 1), "Min": (1,), "Max": (0,)}[node.op]
    for slot, tensor in zip(slots, node.inputs[1:3], strict=False):
        if tensor.is_empty():
            continue
        found = value(tensor)
        if found is None or found.size != 1:
            return None
        ends[slot] = int(found.reshape(()))
    return ends[0], ends[1]
