"""What each operator computes on integers: arithmetic here, movement in `moves`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute
from onnxq.integer import activations, moves
from onnxq.integer.curves import CURVES, curve
from onnxq.integer.kinds import Add, AveragePool, Concat, Conv, Gemm, MaxPool, Mul, Window
from onnxq.integer.pending import INT32, Pending
from onnxq.integer.program import Value
from onnxq.integer.refuse import refused
from onnxq.integer.sources import Sources
from onnxq.integer.transposed import conv_transpose
from onnxq.integer.windows import elements_inside, window

Operator = Callable[[Sources, gs.Node], list[Pending]]

#: Width of 2^bits / elements in the multiplier of an average: its product with a sum of
#: codes of 8 bits stays below 2^30.
_AVERAGE_BITS = {"int8": 22, "uint8": 22, "int16": 14, "uint16": 13}


def conv(at: Sources, node: gs.Node) -> list[Pending]:
    """Σ x · w + b, with scale s_x · s_w of the output channel."""
    x, weight = at.value(node.inputs[0], node), at.weight(node, 1, 0)
    if len(x.shape) != 4 or weight.codes.ndim != 4:
        raise refused(node, f"it is {weight.codes.ndim - 2}-D; only 2-D convolutions are there",
                      "reshape the model to [N, C, 1, W]")  # fmt: skip
    scales = tuple(x.scale * s for s in weight.scales)
    out = weight.codes.shape[0]
    view = window(node, weight.codes.shape[2:], x.shape)
    bias = at.bias(node, 2, scales, out) - _at_zero(x, weight.codes)
    kind = Conv(weight.codes, bias, view, int(attribute(node, "group", 1)), x.zero_point)
    return [Pending(node, kind, (x.name,), scales, (1, out, *view.output(*x.shape[2:])))]


def gemm(at: Sources, node: gs.Node) -> list[Pending]:
    """Σ x · w + b over the last axis."""
    if attribute(node, "transA", 0) or any(attribute(node, k, 1.0) != 1 for k in ("alpha", "beta")):
        raise refused(node, "it has transA, alpha or beta", "the passes of --recipe balanced")
    x, flipped = at.value(node.inputs[0], node), int(attribute(node, "transB", 0))
    weight = at.weight(node, 1, 0 if flipped else 1)
    if weight.codes.ndim != 2 or len(x.shape) < 2:
        raise refused(node, f"its weight has {weight.codes.ndim} dimensions, not 2")
    matrix = weight.codes if flipped else weight.codes.T
    scales = tuple(x.scale * s for s in weight.scales)
    bias = at.bias(node, 2, scales, matrix.shape[0]) - _at_zero(x, matrix)
    return [Pending(node, Gemm(matrix, bias), (x.name,), scales, (*x.shape[:-1], bias.size))]


def add(at: Sources, node: gs.Node) -> list[Pending]:
    """Sum or difference."""
    a, b = _both(at, node)
    scales = (a.scale, -b.scale if node.op == "Sub" else b.scale)
    return [Pending(node, Add(), (a.name, b.name), scales, _broadcast(at, node, a, b))]


def mul(at: Sources, node: gs.Node) -> list[Pending]:
    """Product, at the product of the scales."""
    a, b = _both(at, node)
    kind = Mul((a.zero_point, b.zero_point))
    shape = _broadcast(at, node, a, b)
    return [Pending(node, kind, (a.name, b.name), (a.scale * b.scale,), shape)]


def concat(at: Sources, node: gs.Node) -> list[Pending]:
    """One input after the other."""
    parts = [at.value(t, node) for t in node.inputs]
    axis = int(attribute(node, "axis", 0)) % len(parts[0].shape)
    if axis == 0 or any(p.name in at.constants for p in parts):
        raise refused(node, "it joins frames, or has a constant input")
    shape = list(parts[0].shape)
    shape[axis] = sum(p.shape[axis] for p in parts)
    names, scales = tuple(p.name for p in parts), tuple(p.scale for p in parts)
    return [Pending(node, Concat(axis), names, scales, tuple(shape))]


def max_pool(at: Sources, node: gs.Node) -> list[Pending]:
    """Largest code: scales are positive, so that it is the largest number."""
    x = _image(at, node)
    if len(node.outputs) > 1:
        raise refused(node, "its second output, the indices, is used")
    view = window(node, attribute(node, "kernel_shape"), x.shape)
    shape = (1, x.shape[1], *view.output(*x.shape[2:]))
    return [Pending(node, MaxPool(view), (x.name,), (x.scale,), shape)]


def average_pool(at: Sources, node: gs.Node) -> list[Pending]:
    """Sum, with 1 / elements in the scale; times 2^bits / elements where programs only shift.

    Where windows at the border have fewer elements, sums of 32 bits times a factor for each place.
    """
    x = _image(at, node)
    if node.op == "GlobalAveragePool":
        view = Window((x.shape[2], x.shape[3]), (1, 1), (1, 1), (0, 0, 0, 0))
    else:
        view = window(node, attribute(node, "kernel_shape"), x.shape)
        counts = elements_inside(node, view, x.shape)
        if (counts != view.kernel[0] * view.kernel[1]).any():
            return [_uneven_average(at, node, x, view, counts)]
    elements = view.kernel[0] * view.kernel[1]
    bits, factor = elements.bit_length() - 1, 1
    shape = (1, x.shape[1], *view.output(*x.shape[2:]))
    if not at.shifts:  # as wide as 31 bits hold, so that the multiplier rounds far below a code
        bits = 30 - int(elements * (x.high - x.low)).bit_length()
        kind = AveragePool(view, 1 << max(bits, 0), zero_point=x.zero_point)
        return [Pending(node, kind, (x.name,), (x.scale / elements / kind.factor,), shape)]
    if elements != 1 << bits:
        if x.dtype not in _AVERAGE_BITS:
            raise refused(node, f"it averages {elements} accumulators of 32 bits",
                          "quantize its input")  # fmt: skip
        bits = _AVERAGE_BITS[x.dtype]
        factor = ((1 << bits) + elements // 2) // elements
    kind = AveragePool(view, factor, bits, x.zero_point)
    return [Pending(node, kind, (x.name,), (x.scale * 2.0**-bits,), shape)]


def _uneven_average(
    at: Sources, node: gs.Node, x: Value, view: Window, counts: NDArray[np.int64]
) -> Pending:
    """Sums in 32 bits, each times 2^bits / the elements that its window has."""
    if x.dtype not in _AVERAGE_BITS:
        raise refused(node, "it averages accumulators of 32 bits", "quantize its input")
    if not counts.all():
        raise refused(node, "windows of it lie in the pads alone", "fewer pads")
    shape, name = (1, x.shape[1], *counts.shape), node.outputs[0].name
    kind = AveragePool(view, zero_point=x.zero_point)
    pending = Pending(node, kind, (x.name,), (x.scale,), shape)
    total = at.between(pending, f"{name}__sum", replace(INT32, scales=(x.scale,)))
    # the proof meets the sum of the largest window with the factor of the smallest
    spare = (view.kernel[0] * view.kernel[1] // int(counts.min())).bit_length()
    bits = max(_AVERAGE_BITS[x.dtype] - spare, 0)
    factors = np.rint((1 << bits) / counts).astype(np.int32)[None, None]
    parts = at.constant(f"{name}__parts", factors, 2.0**-bits)
    return Pending(node, Mul(), (total.name, parts.name), (x.scale * 2.0**-bits,), shape)


def _at_zero(x: Value, weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """What codes that are all the zero point of *x* add up to, for each row of *weight*."""
    return np.asarray(weight.reshape(weight.shape[0], -1).sum(axis=1) * x.zero_point)


def _image(at: Sources, node: gs.Node) -> Value:
    x = at.value(node.inputs[0], node)
    if len(x.shape) != 4:
        raise refused(node, f"its input has the shape {list(x.shape)}, not [N, C, H, W]")
    return x


def _both(at: Sources, node: gs.Node) -> tuple[Value, Value]:
    a, b = (at.value(t, node) for t in node.inputs)
    if all(v.name in at.constants for v in (a, b)):
        raise refused(node, "both inputs are constant", "the pass 'fold-constants'")
    return a, b


def _broadcast(at: Sources, node: gs.Node, a: Value, b: Value) -> tuple[int, ...]:
    shape = tuple(int(d) for d in np.broadcast_shapes(a.shape, b.shape))
    frames = [v for v in (a, b) if v.name not in at.constants]
    if shape[0] != 1 or any(len(v.shape) != len(shape) for v in frames):
        raise refused(node, f"shapes {list(a.shape)} and {list(b.shape)} mix frames",
                      "give both inputs the same number of dimensions")  # fmt: skip
    return shape


LOWERED: dict[str, Operator] = {
    "Conv": conv, "ConvTranspose": conv_transpose, "Gemm": gemm, "MatMul": gemm,
    "Add": add, "Sub": add, "Mul": mul, "Concat": concat,
    "MaxPool": max_pool, "AveragePool": average_pool, "GlobalAveragePool": average_pool,
    **moves.LOWERED, **activations.LOWERED, **dict.fromkeys(CURVES, curve),
}  # fmt: skip
