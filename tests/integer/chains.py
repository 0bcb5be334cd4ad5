"""Random small networks over everything that integer programs have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from hypothesis import strategies as st

from onnxq.quant import Rounding
from tests.integer.qdq import INT8, INT16, UINT8, Qdq


@dataclass
class Tensor:
    name: str
    shape: tuple[int, ...]
    exponent: int


def _out(draw: st.DrawFn, m: Qdq, y: str, shape: tuple[int, ...], exponent: int, down: int = 0
         ) -> Tensor:  # fmt: skip
    """Quantize *y*, whose accumulator has *exponent*, after a shift of about *down* bits."""
    if draw(st.booleans()):
        y = m.node("Relu", [y])
    exponent += down + draw(st.integers(-2, 3))
    dtype = draw(st.sampled_from([INT8, INT8, INT8, UINT8, INT16])) if down else INT8
    made = m.quantize(y, exponent, dtype)
    if dtype is INT16:  # back, so that no later accumulator can overflow
        exponent += 6
        made = m.quantize(made, exponent)
    return Tensor(made, shape, exponent)


def _size(size: int, kernel: int, stride: int, hole: int, pads: int) -> int:
    return (size + pads - (kernel - 1) * hole - 1) // stride + 1


def conv(draw: st.DrawFn, m: Qdq, x: Tensor) -> Tensor:
    _, channels, height, width = x.shape
    groups = draw(st.sampled_from([g for g in (1, 2, channels) if channels % g == 0]))
    out = groups * draw(st.integers(1, 3))
    holes = [draw(st.integers(1, 2)) for _ in range(2)]
    kernel = [draw(st.integers(1, max(1, min(3, (s - 1) // h + 1))))
              for s, h in zip((height, width), holes, strict=True)]  # fmt: skip
    strides = [draw(st.integers(1, 3)) for _ in range(2)]
    pads = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    each = draw(st.booleans())
    scales = [draw(st.integers(-8, -5)) for _ in range(out)] if each else -6
    y = m.conv(x.name, (out, channels // groups), kernel,
               exponent=x.exponent, scales=scales, bias=draw(st.booleans()), group=groups,
               strides=strides, dilations=holes, pads=pads)  # fmt: skip
    sizes = [_size(s, k, t, h, pads[i] + pads[i + 2]) for i, (s, k, t, h) in enumerate(
        zip((height, width), kernel, strides, holes, strict=True))]  # fmt: skip
    return _out(draw, m, y, (1, out, *sizes), x.exponent - 6, 8)


def transposed(draw: st.DrawFn, m: Qdq, x: Tensor) -> Tensor:
    channels, groups = x.shape[1], draw(st.sampled_from([1, x.shape[1]]))
    each = draw(st.integers(1, 3))
    kernel, strides, holes = ([draw(st.integers(1, 3)) for _ in range(2)] for _ in range(3))
    spans = [(k - 1) * h + 1 for k, h in zip(kernel, holes, strict=True)]
    pads = [draw(st.integers(0, s - 1)) for s in (*spans, *spans)]
    more = [draw(st.integers(0, t - 1)) for t in strides]
    sizes = [t * (s - 1) + o + n - pads[i] - pads[i + 2] for i, (s, t, o, n) in enumerate(
        zip(x.shape[2:], strides, more, spans, strict=True))]  # fmt: skip
    if min(sizes) < 1:
        pads, sizes = [0] * 4, [n + pads[i] + pads[i + 2] for i, n in enumerate(sizes)]
    weight = m.constant(m.codes((channels, each, *kernel)), -6)
    y = m.node("ConvTranspose", [x.name, weight], group=groups, strides=strides, dilations=holes,
               pads=pads, output_padding=more)  # fmt: skip
    return _out(draw, m, y, (1, groups * each, *sizes), x.exponent - 6, 8)


def pool(draw: st.DrawFn, m: Qdq, x: Tensor) -> Tensor:
    _, channels, height, width = x.shape
    kernel = [draw(st.integers(1, min(3, s))) for s in (height, width)]
    strides = [draw(st.integers(1, 2)) for _ in range(2)]
    mean = draw(st.booleans())
    pads = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    more = {"count_include_pad": draw(st.integers(0, 1))} if mean else {}
    y = m.node("AveragePool" if mean else "MaxPool", [x.name], kernel_shape=kernel,
               strides=strides, pads=pads, **more)  # fmt: skip
    sizes = [_size(s, k, t, 1, pads[i] + pads[i + 2]) for i, (s, k, t) in enumerate(
        zip((height, width), kernel, strides, strict=True))]  # fmt: skip
    return _out(draw, m, y, (1, channels, *sizes), x.exponent)


def join(draw: st.DrawFn, m: Qdq, x: Tensor) -> Tensor:
    """A branch, and what brings it back."""
    op = draw(st.sampled_from(["Add", "Sub", "Mul", "Concat"]))
    y = m.conv(x.name, (x.shape[1], x.shape[1]), (1, 1), exponent=x.exponent)
    side = _out(draw, m, y, x.shape, x.exponent - 6, 7)
    exponent = x.exponent + side.exponent if op == "Mul" else min(x.exponent, side.exponent)
    pair, more = [x.name, side.name], {"axis": 1} if op == "Concat" else {}
    shape = (1, x.shape[1] * (2 if op == "Concat" else 1), *x.shape[2:])
    return _out(draw, m, m.node(op, pair, **more), shape, exponent, 7 if op == "Mul" else 0)


def move(draw: st.DrawFn, m: Qdq, x: Tensor) -> Tensor:
    op = draw(st.sampled_from(["Pad", "Resize", "Slice", "Split", "Transpose"]))
    shape = list(x.shape)
    if op == "Pad":
        pads = [draw(st.integers(0, 2)) for _ in range(4)]
        y = m.node("Pad", [x.name, m.store(np.array([0, 0, *pads[:2], 0, 0, *pads[2:]]))])
        shape[2:] = [shape[2] + pads[0] + pads[2], shape[3] + pads[1] + pads[3]]
    elif op == "Resize":
        scales = [draw(st.integers(1, 2)) for _ in range(2)]
        stored = m.store(np.array([1, 1, *scales], np.float32))
        y = m.node("Resize", [x.name, "", stored], mode="nearest", nearest_mode="floor",
                   coordinate_transformation_mode="asymmetric")  # fmt: skip
        shape[2:] = [shape[2] * scales[0], shape[3] * scales[1]]
    elif op == "Split":
        axis = draw(st.integers(1, 3))
        first = draw(st.integers(0, shape[axis] - 1))
        sizes = [first, shape[axis] - first] if first else [shape[axis]]
        parts = m.nodes_out("Split", [x.name, m.store(np.array(sizes))], len(sizes), axis=axis)
        y, shape[axis] = parts[-1], sizes[-1]
    elif op == "Slice":
        axis = draw(st.integers(1, 3))
        first = draw(st.integers(0, shape[axis] - 1))
        rows = [m.store(np.array([v])) for v in (first, shape[axis], axis)]
        y = m.node("Slice", [x.name, *rows])
        shape[axis] -= first
    else:
        order = [0, *draw(st.permutations([1, 2, 3]))]
        y = m.node("Transpose", [x.name], perm=order)
        shape = [shape[p] for p in order]
    return _out(draw, m, y, tuple(shape), x.exponent)


def curve(draw: st.DrawFn, m: Qdq, x: Tensor) -> Tensor:
    op = draw(st.sampled_from(["Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu",
                               "Softmax"]))  # fmt: skip
    down = draw(st.integers(-8, -4))
    inputs, more = [x.name], {"axis": draw(st.integers(1, 3))} if op == "Softmax" else {}
    if op == "PRelu":
        slopes = m.rng.normal(size=(draw(st.sampled_from([1, x.shape[1]])), 1, 1))
        inputs.append(m.store(slopes.astype(np.float32)))
    return Tensor(m.quantize(m.node(op, inputs, **more), down), x.shape, down)


PARTS: list[Callable[[st.DrawFn, Qdq, Tensor], Tensor]] = [
    conv, conv, transposed, pool, join, move, curve,
]  # fmt: skip
KINDS = ("shift", "zeros", "multiplier")
"""Shifts alone, with zero points, and any scale."""


@st.composite
def chains(
    draw: st.DrawFn, rounding: Rounding | None = None, kinds: tuple[str, ...] = KINDS
) -> onnx.ModelProto:
    way = rounding or draw(st.sampled_from(list(Rounding)))
    more = {k: True for k in [draw(st.sampled_from(kinds))] if k != "shift"}
    m = Qdq(draw(st.integers(0, 99)), way.value, **more)
    m.weight_bits, m.bits = (draw(st.sampled_from(w)) for w in ((8, 4, 6, 7, 10, 12), (8, 4, 7)))
    shape = (1, *(draw(st.integers(1, 6)) for _ in range(3)))
    x = Tensor(m.input(shape[1:], -4, draw(st.sampled_from([INT8, UINT8]))), shape, -4)
    for _ in range(draw(st.integers(1, 5))):
        if max(x.shape) <= 24:
            x = draw(st.sampled_from(PARTS))(draw, m, x)
    if draw(st.booleans()):
        flat = m.quantize(m.node("Flatten", [x.name]), x.exponent)
        x.name = m.gemm(flat, (3, int(np.prod(x.shape))), exponent=x.exponent)
    return m.proto(x.name)
