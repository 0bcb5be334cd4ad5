"""What each operator computes on integers: arithmetic here, movement in `moves`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import attribute
from onnxq.integer import moves
from onnxq.integer.curves import CURVES, curve
from onnxq.integer.kinds import Add, AveragePool, Concat, Conv, Gemm, MaxPool, Mul, Window
from onnxq.integer.pending import Pending
from onnxq.integer.program import Value
from onnxq.integer.refuse import refused
from onnxq.integer.sources import Sources
from onnxq.integer.windows import window

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
    exponents = tuple(x.exponent + e for e in weight.exponents)
    out = weight.codes.shape[0]
    view = window(node, weight.codes.shape[2:], x.shape)
    kind = Conv(weight.codes, at.bias(node, 2, exponents, out), view,
                int(attribute(node, "group", 1)))  # fmt: skip
    return [Pending(node, kind, (x.name,), exponents, (1, out, *view.output(*x.shape[2:])))]


def gemm(at: Sources, node: gs.Node) -> list[Pending]:
    """Σ x · w + b over the last axis."""
    if attribute(node, "transA", 0) or any(attribute(node, k, 1.0) != 1 for k in ("alpha", "beta")):
        raise refused(node, "it has transA, alpha or beta", "the passes of --recipe balanced")
    x, flipped = at.value(node.inputs[0], node), int(attribute(node, "transB", 0))
    weight = at.weight(node, 1, 0 if flipped else 1)
    if weight.codes.ndim != 2 or len(x.shape) < 2:
        raise refused(node, f"its weight has {weight.codes.ndim} dimensions, not 2")
    matrix = weight.codes if flipped else weight.codes.T
    exponents = tuple(x.exponent + e for e in weight.exponents)
    kind = Gemm(matrix, at.bias(node, 2, exponents, matrix.shape[0]))
    return [Pending(node, kind, (x.name,), exponents, (*x.shape[:-1], matrix.shape[0]))]


def add(at: Sources, node: gs.Node) -> list[Pending]:
    """Sum or difference, at the smaller of the two exponents."""
    a, b = _both(at, node)
    exponent = min(a.exponent, b.exponent)
    lefts = a.exponent - exponent, b.exponent - exponent
    signs = (1, -1 if node.op == "Sub" else 1)
    shape = _broadcast(at, node, a, b)
    return [Pending(node, Add(lefts, signs), (a.name, b.name), (exponent,), shape)]


def mul(at: Sources, node: gs.Node) -> list[Pending]:
    """Product, at the sum of the exponents."""
    a, b = _both(at, node)
    shape = _broadcast(at, node, a, b)
    return [Pending(node, Mul(), (a.name, b.name), (a.exponent + b.exponent,), shape)]


def concat(at: Sources, node: gs.Node) -> list[Pending]:
    """One input after the other."""
    parts = [at.value(t, node) for t in node.inputs]
    axis = int(attribute(node, "axis", 0)) % len(parts[0].shape)
    if axis == 0 or any(p.name in at.constants for p in parts):
        raise refused(node, "it joins frames, or has a constant input")
    shape = list(parts[0].shape)
    shape[axis] = sum(p.shape[axis] for p in parts)
    names, exponents = tuple(p.name for p in parts), tuple(p.exponent for p in parts)
    return [Pending(node, Concat(axis), names, exponents, tuple(shape))]


def max_pool(at: Sources, node: gs.Node) -> list[Pending]:
    """Largest code: scales are positive, so that it is the largest number."""
    x = _image(at, node)
    if len(node.outputs) > 1:
        raise refused(node, "its second output, the indices, is used")
    view = window(node, attribute(node, "kernel_shape"), x.shape)
    shape = (1, x.shape[1], *view.output(*x.shape[2:]))
    return [Pending(node, MaxPool(view), (x.name,), (x.exponent,), shape)]


def average_pool(at: Sources, node: gs.Node) -> list[Pending]:
    """Sum times 2^bits / elements, with 2^-bits in the scale."""
    x = _image(at, node)
    if node.op == "GlobalAveragePool":
        view = Window((x.shape[2], x.shape[3]), (1, 1), (1, 1), (0, 0, 0, 0))
    else:
        view = window(node, attribute(node, "kernel_shape"), x.shape)
        uneven = any(view.pads) and not attribute(node, "count_include_pad", 0)
        if uneven or attribute(node, "ceil_mode", 0):
            raise refused(node, "its windows at the border have fewer elements",
                          "--exclude this node, or count_include_pad=1 in the model")  # fmt: skip
    elements = view.kernel[0] * view.kernel[1]
    bits, multiplier = elements.bit_length() - 1, 1
    if elements != 1 << bits:
        if x.dtype not in _AVERAGE_BITS:
            raise refused(node, f"it averages {elements} accumulators of 32 bits",
                          "quantize its input")  # fmt: skip
        bits = _AVERAGE_BITS[x.dtype]
        multiplier = ((1 << bits) + elements // 2) // elements
    shape = (1, x.shape[1], *view.output(*x.shape[2:]))
    kind = AveragePool(view, multiplier, bits)
    return [Pending(node, kind, (x.name,), (x.exponent - bits,), shape)]


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
    "Conv": conv, "Gemm": gemm, "MatMul": gemm, "Add": add, "Sub": add, "Mul": mul,
    "Concat": concat, "MaxPool": max_pool, "AveragePool": average_pool,
    "GlobalAveragePool": average_pool, **moves.LOWERED, **dict.fromkeys(CURVES, curve),
}  # fmt: skip
