"""QDQ models built by hand: scales are powers of two, zero points 0, or either is any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnxq.graph import Model

INT8, UINT8, INT16 = np.int8, np.uint8, np.int16


class Qdq:
    """A model under construction; methods take and return names of dequantized tensors.

    Weights have codes of *weight_bits*, and results stored as int8 of *bits*, as a Clip in front of
    their QuantizeLinear says (where zero points are 0).
    """

    weight_bits = 8
    bits = 8

    def __init__(
        self, seed: int = 0, rounding: str | None = None, *, multiplier: bool = False,
        zeros: bool = False,
    ) -> None:  # fmt: skip
        self.rng = np.random.default_rng(seed)
        self.rounding, self.multiplier, self.zeros = rounding, multiplier, zeros or multiplier
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.count = 0

    def name(self, base: str) -> str:
        self.count += 1
        return f"{base}{self.count}"

    def store(self, array: NDArray[Any], base: str = "c") -> str:
        name = self.name(base)
        self.stored.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        return self.nodes_out(op, inputs, 1, **attrs)[0]

    def nodes_out(self, op: str, inputs: Sequence[str], count: int, **attrs: Any) -> list[str]:
        made = [self.name(op.lower()) for _ in range(count)]
        self.nodes.append(helper.make_node(op, list(inputs), made, f"n_{made[0]}", **attrs))
        return made

    def quantize(self, x: str, exponent: int, dtype: Any = INT8) -> str:
        """QuantizeLinear and DequantizeLinear; with a multiplier any scale near 2^exponent."""
        limits = np.iinfo(dtype)
        scale, zero = np.float32(2.0**exponent), 0
        if self.multiplier:
            scale *= np.float32(self.rng.uniform(0.75, 1.5))
        if self.zeros:
            zero = int(self.rng.integers(limits.min, limits.max // 2, endpoint=True))
        elif dtype is INT8 and self.bits < 8:
            most = 1 << (self.bits - 1)
            ends = [self.store(np.float32(n * scale), "e") for n in (-most, most - 1)]
            x = self.node("Clip", [x, *ends])
        grid = [self.store(scale, "s"), self.store(np.array(zero, dtype), "z")]
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [x, *grid]), *grid])

    def constant(self, codes: NDArray[Any], exponents: int | Sequence[int], axis: int = 0) -> str:
        scale = np.ldexp(np.float32(1), exponents).astype(np.float32)
        if self.multiplier:
            scale = scale * self.rng.uniform(0.75, 1.5, scale.shape).astype(np.float32)
        zero = np.zeros(scale.shape, codes.dtype)
        parts = [self.store(codes), self.store(scale, "s"), self.store(zero, "z")]
        return self.node("DequantizeLinear", parts, **({"axis": axis} if scale.ndim else {}))

    def input(self, shape: Sequence[int], exponent: int = -4, dtype: Any = INT8) -> str:
        name = self.name("input")
        kind = TensorProto.FLOAT
        self.inputs.append(helper.make_tensor_value_info(name, kind, ["N", *shape]))
        return self.quantize(name, exponent, dtype)

    def codes(self, shape: Sequence[int]) -> NDArray[Any]:
        most = (1 << (self.weight_bits - 1)) - 1
        dtype = INT8 if self.weight_bits <= 8 else INT16
        return self.rng.integers(-most, most, shape, dtype=dtype, endpoint=True)

    def conv(
        self, x: str, channels: tuple[int, int], kernel: Sequence[int] = (3, 3), *,
        exponent: int = -4, scales: int | Sequence[int] = -6, bias: bool = True, **attrs: Any,
    ) -> str:  # fmt: skip
        """Conv of the tensor *x* whose scale is 2^exponent; channels (out, in / group)."""
        weight = self.constant(self.codes((*channels, *kernel)), scales)
        more = []
        if bias:
            codes = self.rng.integers(-3000, 3000, channels[0]).astype(np.int32)
            more = [self.constant(codes, np.add(scales, exponent).tolist())]
        return self.node("Conv", [x, weight, *more], kernel_shape=list(kernel), **attrs)

    def gemm(
        self, x: str, size: tuple[int, int], *, exponent: int = -4, scales: Any = -6, **attrs: Any
    ) -> str:
        """Gemm with weight [out, in]."""
        weight = self.constant(self.codes(size), scales)
        codes = self.rng.integers(-3000, 3000, size[0]).astype(np.int32)
        bias = self.constant(codes, np.add(scales, exponent).tolist())
        return self.node("Gemm", [x, weight, bias], transB=1, **attrs)

    def proto(self, *outputs: str) -> onnx.ModelProto:
        made = [onnx.ValueInfoProto(name=o) for o in outputs]
        for info in made:
            info.type.tensor_type.elem_type = TensorProto.FLOAT
        graph = helper.make_graph(self.nodes, "g", self.inputs, made, self.stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        props = {"onnxq.rounding": self.rounding} if self.rounding else {}
        if self.multiplier:
            props["onnxq.requantization"] = "multiplier"
        if self.zeros:
            props["onnxq.zero_points"] = "any"
        helper.set_model_props(model, props)
        return onnx.shape_inference.infer_shapes(model)

    def model(self, *outputs: str) -> Model:
        return Model.load(self.proto(*outputs))
