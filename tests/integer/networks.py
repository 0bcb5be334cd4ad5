"""Small networks, one for each thing that an integer program can do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from tests.integer.qdq import INT16, UINT8, Qdq

Network = Callable[[Qdq], list[str]]
NETWORKS: dict[str, Network] = {}


def network(make: Network) -> Network:
    NETWORKS[make.__name__] = make
    return make


def build(name: str, rounding: str = "half-up", seed: int = 0, *, multiplier: bool = False
          ) -> onnx.ModelProto:  # fmt: skip
    made = Qdq(seed, rounding, multiplier=multiplier)
    return made.proto(*NETWORKS[name](made))


@network
def conv_plain(m: Qdq) -> list[str]:
    return [m.quantize(m.conv(m.input((3, 7, 9)), (5, 3)), -2)]


@network
def conv_channels_strides_pads(m: Qdq) -> list[str]:
    y = m.conv(m.input((4, 11, 8)), (6, 4), (3, 2), scales=[-6, -7, -8, -5, -6, -9],
               strides=[2, 3], pads=[1, 0, 2, 1])  # fmt: skip
    return [m.quantize(m.node("Relu", [y]), -3)]


@network
def conv_dilated_groups(m: Qdq) -> list[str]:
    y = m.conv(m.input((6, 9, 9)), (4, 3), group=2, dilations=[2, 3], pads=[2, 1, 0, 3])
    six = [m.store(np.float32(0)), m.store(np.float32(6))]
    return [m.quantize(m.node("Clip", [y, *six]), -4)]


@network
def conv_depthwise(m: Qdq) -> list[str]:
    y = m.conv(m.input((5, 8, 8)), (5, 1), group=5, pads=[1, 1, 1, 1], strides=[2, 1])
    y = m.quantize(y, -3)
    return [m.quantize(m.conv(y, (10, 1), group=5, exponent=-3), 0)]


@network
def conv_pointwise_no_bias(m: Qdq) -> list[str]:
    y = m.quantize(m.conv(m.input((8, 5, 5)), (16, 8), (1, 1), bias=False), -3, UINT8)
    return [m.conv(y, (3, 16), (1, 1), exponent=-3, scales=[-6, -5, -7])]


@network
def conv_few_pixels(m: Qdq) -> list[str]:
    """The first and last of 16 places are as far apart as 16 neighbours, but are no row."""
    return [m.quantize(m.conv(m.input((3, 3, 6)), (4, 3), (1, 1), strides=[1, 3]), -3)]


@network
def conv_same_upper(m: Qdq) -> list[str]:
    y = m.conv(m.input((2, 7, 6)), (3, 2), strides=[2, 2], auto_pad="SAME_UPPER")
    return [m.quantize(y, -11, INT16)]  # shifts to the left


@network
def conv_to_int16(m: Qdq) -> list[str]:
    y = m.quantize(m.conv(m.input((2, 6, 6)), (3, 2)), -9, INT16)
    return [m.quantize(y, -3)]


@network
def transposed(m: Qdq) -> list[str]:
    weight = m.constant(m.codes((4, 3, 3, 2)), [-6, -7, -5], axis=1)
    x = m.input((4, 5, 6))
    bias = m.constant(m.rng.integers(-3000, 3000, 3).astype(np.int32), [-10, -11, -9])
    y = m.node("ConvTranspose", [x, weight, bias], strides=[2, 3], pads=[1, 0, 2, 1],
               output_padding=[1, 2], dilations=[1, 2])  # fmt: skip
    y = m.quantize(m.node("Relu", [y]), -3)
    two = m.constant(m.codes((3, 2, 2, 2)), -7)
    return [m.quantize(m.node("ConvTranspose", [y, two], group=3, strides=[2, 2]), -3)]


@network
def gemm(m: Qdq) -> list[str]:
    y = m.quantize(m.gemm(m.input((20,), dtype=UINT8), (30, 20)), -1)
    return [m.gemm(m.node("Relu", [y]), (7, 30), exponent=-1, scales=[-6, -7, -8, -4, -5, -6, -7])]


@network
def matmul(m: Qdq) -> list[str]:
    x = m.input((4, 6))
    y = m.node("MatMul", [x, m.constant(m.codes((6, 5)), -6)])
    bias = m.constant(m.rng.integers(-3000, 3000, 5).astype(np.int32), -10)
    return [m.quantize(m.node("Add", [y, bias]), -3)]


@network
def add_aligned(m: Qdq) -> list[str]:
    a, b = m.input((3, 4, 5), -4), m.input((3, 4, 5), -7)
    y = m.quantize(m.node("Relu", [m.node("Add", [a, b])]), -3)
    return [m.quantize(m.node("Sub", [y, a]), -4)]


@network
def broadcast(m: Qdq) -> list[str]:
    a, gate = m.input((3, 4, 5), -4), m.input((3, 1, 1), -7)
    y = m.quantize(m.node("Mul", [a, gate]), -5)
    shift = m.constant(m.codes((3, 1, 1)), -6)
    return [m.quantize(m.node("Add", [y, shift]), -4)]


@network
def concat(m: Qdq) -> list[str]:
    a, b, c = m.input((3, 4, 5), -4), m.input((2, 4, 5), -6), m.input((1, 4, 5), -3)
    return [m.quantize(m.node("Concat", [a, b, c], axis=1), -4)]


@network
def average_pool_at_borders(m: Qdq) -> list[str]:
    x = m.input((2, 7, 9), dtype=UINT8)
    y = m.node("AveragePool", [x], kernel_shape=[2, 2], pads=[1, 0, 1, 1], strides=[2, 3])
    z = m.node("AveragePool", [x], kernel_shape=[2, 2], pads=[1, 1, 1, 1], strides=[2, 2],
               ceil_mode=1, count_include_pad=1)  # fmt: skip
    return [m.quantize(y, -5), m.quantize(z, -4)]


@network
def max_pool(m: Qdq) -> list[str]:
    y = m.node("MaxPool", [m.input((3, 7, 8))], kernel_shape=[3, 2], strides=[2, 2],
               pads=[1, 0, 1, 1], ceil_mode=1)  # fmt: skip
    return [m.quantize(y, -4)]


@network
def average_pool(m: Qdq) -> list[str]:
    x = m.input((3, 8, 8))
    y = m.quantize(m.node("AveragePool", [x], kernel_shape=[2, 4], strides=[2, 2]), -5)
    return [m.quantize(m.node("GlobalAveragePool", [m.quantize(x, -4)]), -6), y]


@network
def pad_resize_slice(m: Qdq) -> list[str]:
    x = m.input((2, 3, 4))
    pads = m.store(np.array([0, 0, 1, 2, 0, 1, 0, 1]))
    y = m.quantize(m.node("Pad", [x, pads]), -4)
    scales = m.store(np.array([1, 1, 2, 2], np.float32))
    y = m.node("Resize", [y, "", scales], mode="nearest", nearest_mode="floor",
               coordinate_transformation_mode="asymmetric")  # fmt: skip
    ends = [m.store(np.array(v)) for v in ([1], [-1], [2], [2])]
    z = m.node("Slice", [m.quantize(y, -4), *ends])
    return [m.quantize(z, -4)]


@network
def split_shuffle(m: Qdq) -> list[str]:
    x = m.input((6, 4, 3))
    a, b = m.nodes_out("Split", [x], 2, axis=1, num_outputs=2)
    y = m.quantize(m.node("Concat", [m.quantize(b, -4), m.quantize(a, -4)], axis=1), -4)
    y = m.node("Reshape", [y, m.store(np.array([-1, 2, 3, 4, 3]))])
    y = m.node("Transpose", [m.quantize(y, -4)], perm=[0, 2, 1, 3, 4])
    y = m.node("Flatten", [m.quantize(y, -4)])
    return [m.quantize(m.gemm(m.quantize(y, -4), (4, 72)), -1)]


@network
def curves(m: Qdq) -> list[str]:
    x = m.quantize(m.conv(m.input((3, 5, 5)), (4, 3), (1, 1)), -4)
    made = [
        m.quantize(m.node("Sigmoid", [x]), -7),
        m.quantize(m.node("Tanh", [x]), -7),
        m.quantize(m.node("HardSigmoid", [x], alpha=0.3), -7),
        m.quantize(m.node("HardSwish", [x]), -4),
        m.quantize(m.node("LeakyRelu", [x], alpha=0.3), -4),
        m.quantize(m.node("Elu", [m.quantize(m.node("Relu", [x]), -4, UINT8)]), -6, INT16),
    ]
    return [*made, m.quantize(m.node("Mul", [x, made[0]]), -4)]


@network
def prelu(m: Qdq) -> list[str]:
    x = m.quantize(m.conv(m.input((3, 5, 5)), (4, 3), (1, 1)), -2)
    each = m.store(np.array([0.25, -0.5, 1.75, 0.0625], np.float32).reshape(4, 1, 1))
    one = m.store(np.array([0.375], np.float32))
    return [m.quantize(m.node("PRelu", [x, slope]), -2) for slope in (each, one)]


@network
def softmax(m: Qdq) -> list[str]:
    x = m.input((5, 3, 4))
    last, channels = (m.quantize(m.node("Softmax", [x], axis=a), -8, UINT8) for a in (-1, 1))
    return [last, channels, m.quantize(m.node("Softmax", [x], axis=2), -7)]


@network
def formats_change(m: Qdq) -> list[str]:
    x = m.input((3, 4, 5), -4)
    y = m.quantize(m.quantize(x, -3, UINT8), -5)
    y = m.quantize(m.node("Transpose", [y], perm=[0, 2, 3, 1]), -4, UINT8)
    return [m.quantize(m.node("MaxPool", [y], kernel_shape=[2, 2]), -5)]


@network
def residual(m: Qdq) -> list[str]:
    x = m.input((3, 8, 8))
    a = m.quantize(m.node("Relu", [m.conv(x, (8, 3), pads=[1, 1, 1, 1])]), -2)
    b = m.quantize(m.conv(a, (8, 8), exponent=-2, pads=[1, 1, 1, 1]), 1)
    y = m.quantize(m.node("Relu", [m.node("Add", [a, b])]), 1)
    y = m.quantize(m.node("MaxPool", [y], kernel_shape=[2, 2], strides=[2, 2]), 1)
    y = m.quantize(m.node("GlobalAveragePool", [y]), 0)
    return [m.gemm(m.node("Flatten", [y]), (10, 8), exponent=0)]


@network
def table_of_four_bits(m: Qdq) -> list[str]:
    x, m.bits = m.input((3, 5)), 4
    return [m.quantize(m.node("Sigmoid", [x]), -4)]
