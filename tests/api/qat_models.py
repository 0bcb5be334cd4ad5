"""A network as quantization-aware training leaves it, in the forms that exporters write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
FORMS = ("qdq", "div", "mul-add", "clip-first", "min-max", "floor", "straight-through")
"""qdq: PyTorch, tf2onnx, and with a Clip between, Brevitas. The others are arithmetic, as
straight-line code of a framework exports it."""


@dataclass(frozen=True)
class Grid:
    """Scale, zero point and the codes in use."""

    scale: Array
    zero: int
    low: int
    high: int


def grid(low: float, high: float, bits: int, *, signed: bool = False) -> Grid:
    """The grid of *bits* bits that covers *low* … *high*, or ± of the larger where *signed*."""
    if signed:
        top = (1 << (bits - 1)) - 1
        return Grid(np.float32(max(-low, high) / top), 0, -top - 1, top)
    scale = np.float32((high - low) / ((1 << bits) - 1))
    return Grid(scale, int(np.rint(-low / scale)), 0, (1 << bits) - 1)


@dataclass
class Qat:
    """Writes a model whose rounding has the form *form*, *bits* wide."""

    form: str = "qdq"
    bits: int = 8
    signed: bool = False
    per_channel: bool = True
    weight_bits: int = 8
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    codes: dict[str, Array] = field(default_factory=dict)

    def constant(self, name: str, value: Any) -> str:
        """A stored constant."""
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], out: str, **attrs: Any) -> str:
        """A node called as its output."""
        self.nodes.append(helper.make_node(op, inputs, [out], name=out, **attrs))
        return out

    def fake(self, x: str, out: str, g: Grid, axis: int | None = None, rank: int = 4) -> str:
        """Round *x* to *g*."""
        if self.form == "qdq":
            return self._qdq(x, out, g, axis)
        if self.form == "quant":
            return self._quant(x, out, g, axis, rank)
        shape = [1] * rank
        if axis is not None:
            shape[axis] = -1
        scale = np.asarray(g.scale, np.float32)
        s = self.constant(f"{out}_s", scale.reshape(shape) if axis is not None else scale)
        inverse = self.constant(f"{out}_i", np.float32(1) / (scale.reshape(shape) if scale.ndim
                                                            else scale))  # fmt: skip
        z = self.constant(f"{out}_z", np.float32(g.zero))
        low, high = (self.constant(f"{out}_{n}", np.float32(v))
                     for n, v in (("low", g.low), ("high", g.high)))  # fmt: skip
        if self.form == "div" or (self.form in ("clip-first", "min-max") and scale.ndim):
            steps = [
                ("Div", s),
                ("Add", z),
                ("Round",),
                ("Clip", low, high),
                ("Sub", z),
                ("Mul", s),
            ]
        elif self.form == "mul-add":
            steps = [("Mul", inverse), ("Round",), ("Add", z), ("Clip", low, high),
                     ("Sub", z), ("Mul", s)]  # fmt: skip
        elif self.form == "clip-first":
            ends = [self.constant(f"{out}_{n}", np.float32((v - g.zero) * scale))
                    for n, v in (("least", g.low), ("most", g.high))]  # fmt: skip
            steps = [("Clip", *ends), ("Div", s), ("Round",), ("Mul", s)]
        elif self.form == "min-max":
            least = self.constant(f"{out}_least", np.float32((g.low - g.zero) * scale))
            most = self.constant(f"{out}_most", np.float32((g.high - g.zero) * scale))
            steps = [("Max", least), ("Min", most), ("Sub", least), ("Div", s), ("Round",),
                     ("Mul", s), ("Add", least)]  # fmt: skip
        elif self.form == "floor":
            half = self.constant(f"{out}_half", np.float32(0.5))
            steps = [("Div", s), ("Add", z), ("Clip", low, high), ("Add", half), ("Floor",),
                     ("Sub", z), ("Mul", s)]  # fmt: skip
        else:
            steps = [("Div", s), ("Add", z), ("Clip", low, high), ("Round", "ste"), ("Sub", z),
                     ("Mul", s)]  # fmt: skip
        now = x
        for i, (op, *others) in enumerate(steps):
            last = i == len(steps) - 1
            name = out if last else f"{out}_{i}"
            if others == ["ste"]:
                rounded = self.node("Round", [now], f"{name}_r")
                difference = self.node("Sub", [rounded, now], f"{name}_d")
                now = self.node("Add", [now, difference], name)
            else:
                now = self.node(op, [now, *others], name)
        return now

    def _qdq(self, x: str, out: str, g: Grid, axis: int | None) -> str:
        kind = np.int8 if g.low < 0 else np.uint8
        scale = np.asarray(g.scale, np.float32)
        scale = scale if axis is not None else scale.reshape(1)  # as PyTorch stores it
        zero = np.full(scale.shape, g.zero, kind)
        given = [self.constant(f"{out}_s", scale), self.constant(f"{out}_z", zero)]
        attrs = {} if axis is None else {"axis": axis}
        q = self.node("QuantizeLinear", [x, *given], f"{out}_q", **attrs)
        ends = np.iinfo(kind)
        if (g.low, g.high) != (ends.min, ends.max):
            low = self.constant(f"{out}_low", kind(g.low))
            q = self.node("Clip", [q, low, self.constant(f"{out}_high", kind(g.high))], f"{out}_c")
        return self.node("DequantizeLinear", [q, *given], out, **attrs)

    def _quant(self, x: str, out: str, g: Grid, axis: int | None, rank: int) -> str:
        shape = [1] * rank
        if axis is not None:
            shape[axis] = -1
        scale = np.asarray(g.scale, np.float32)
        s = self.constant(f"{out}_s", scale.reshape(shape) if axis is not None else scale)
        z = self.constant(f"{out}_z", np.float32(g.zero))
        bits = (g.high - g.low).bit_length()
        b = self.constant(f"{out}_b", np.float32(bits))
        narrow = int(g.low == -(1 << (bits - 1)) + 1)
        return self.node("Quant", [x, s, z, b], out, domain="qonnx.custom_op.general",
                         signed=int(g.low < 0), narrow=narrow, rounding_mode="ROUND")  # fmt: skip

    def activation(self, x: str, out: str, low: float, high: float) -> str:
        """Round the activation *x*."""
        return self.fake(x, out, grid(low, high, self.bits, signed=self.signed))

    def weight(self, name: str, shape: tuple[int, ...], axis: int = 0) -> str:
        """A rounded weight, and note its codes."""
        fan = int(np.prod(shape)) // shape[axis]
        value = self.rng.normal(0, 1 / np.sqrt(fan), shape).astype(np.float32)
        others = tuple(i for i in range(len(shape)) if i != axis)
        top = np.abs(value).max(others) if self.per_channel else np.abs(value).max()
        half = (1 << (self.weight_bits - 1)) - 1
        g = Grid(np.asarray(top / half, np.float32), 0, -half, half)
        along = [1] * len(shape)
        along[axis] = -1
        scale = g.scale.reshape(along) if self.per_channel else g.scale
        self.codes[name] = np.clip(np.rint(value / scale), -half, half).astype(int)
        stored = self.constant(f"{name}_float", value)
        return self.fake(stored, name, g, axis if self.per_channel else None, len(shape))

    def norm(self, x: str, out: str, channels: int) -> str:
        """A batch-norm, some of whose factors are negative."""
        values = [
            self.rng.uniform(0.5, 1.5, channels) * self.rng.choice([-1, 1], channels),
            self.rng.normal(0, 0.2, channels), self.rng.normal(0, 0.2, channels),
            self.rng.uniform(0.5, 1.5, channels),
        ]  # fmt: skip
        given = [self.constant(f"{out}_{i}", v.astype(np.float32)) for i, v in enumerate(values)]
        return self.node("BatchNormalization", [x, *given], out)

    def model(self, last: str, shape: list[int], channels: int = 3) -> onnx.ModelProto:
        """The model whose output is *last*."""
        graph = helper.make_graph(
            self.nodes, "qat",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 8, 8])],
            [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)], self.constants,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 17)]
        if self.form == "quant":
            opsets.append(helper.make_opsetid("qonnx.custom_op.general", 1))
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def network(qat: Qat) -> onnx.ModelProto:
    """A residual network: batch-norms unfolded, a depthwise layer, pooling, a Gemm."""
    x = qat.activation("x", "xf", -3.5, 3.5)
    pads = {"pads": [1, 1, 1, 1]}
    a = qat.node("Conv", [x, qat.weight("w1", (8, 3, 3, 3))], "conv1", **pads)
    a = qat.node("Relu", [qat.norm(a, "bn1", 8)], "relu1")
    a = qat.activation(a, "af", 0.0, 4.0)
    b = qat.node("Conv", [a, qat.weight("w2", (8, 1, 3, 3))], "conv2", group=8, **pads)
    b = qat.activation(qat.norm(b, "bn2", 8), "bf", -4.0, 4.0)
    c = qat.activation(qat.node("Add", [a, b], "add"), "cf", -4.0, 7.0)
    p = qat.node("MaxPool", [c], "pool", kernel_shape=[2, 2], strides=[2, 2])
    f = qat.node("Flatten", [p], "flat")
    bias = qat.constant("b3", qat.rng.normal(0, 0.2, 10).astype(np.float32))
    g = qat.node("Gemm", [f, qat.weight("w3", (10, 128)), bias], "gemm", transB=1)
    return qat.model(qat.activation(g, "y", -5.0, 5.0), [1, 10])
