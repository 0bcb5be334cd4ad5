"""Small models that every pass is tried on, as ONNX text."""

from __future__ import annotations

import zlib

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

_TEXTS = {
    "conv-bn-relu": """
        conv_bn_relu (float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y)
        <float[4, 3, 3, 3] w, float[4] b, float[4] s, float[4] t, float[4] m, float[4] var_v>
        { [conv] c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
          [bn] n = BatchNormalization (c, s, t, m, var_v)
          [relu] y = Relu (n) }""",
    "residual": """
        residual (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y)
        <float[4, 4, 1, 1] w1, float[4, 4, 1, 1] w2, float[4] b1>
        { [conv1] a = Conv (x, w1, b1)  [relu1] r = Relu (a)
          [conv2] c = Conv (r, w2)  [add] s = Add (c, r)  [relu2] y = Relu (s) }""",
    "depthwise-clip": """
        depthwise (float[1, 4, 8, 8] x) => (float[1, 2] y)
        <float[4, 1, 3, 3] w, float[4] b, float low = {0}, float high = {6}, float[4, 2] g,
         float[2] gb, int64[2] axes = {2, 3}>
        { [conv] c = Conv <group = 4, strides = [2, 2], pads = [1, 1, 1, 1]> (x, w, b)
          [clip] k = Clip (c, low, high)
          [mean] m = ReduceMean <keepdims = 1, axes = [2, 3]> (k)
          [flat] f = Flatten (m)  [gemm] y = Gemm (f, g, gb) }""",
    "concat": """
        concat (float[1, 2, 6, 6] x) => (float[1, 6, 3, 3] y)
        <float[3, 2, 1, 1] w1, float[3, 2, 3, 3] w2, float[6, 6, 1, 1] w3>
        { [left] a = Conv (x, w1)  [right] b = Conv <pads = [1, 1, 1, 1]> (x, w2)
          [join] c = Concat <axis = 1> (a, b)
          [pool] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
          [last] y = Conv (p, w3) }""",
    "matmul-add": """
        matmul (float[2, 8] x) => (float[2, 3] y)
        <float[8, 5] w, float[5] b, float[5, 3] v>
        { [mm] m = MatMul (x, w)  [add] a = Add (m, b)  [tanh] t = Tanh (a)
          [mm2] y = MatMul (t, v) }""",
    "shared-weights": """
        shared (float[1, 3, 5, 5] x) => (float[1, 3, 5, 5] y, float[1, 3, 5, 5] z)
        <float[3, 3, 1, 1] w, float[3] s, float[3] t, float[3] m, float[3] var_v>
        { [one] a = Conv (x, w)  [bn] y = BatchNormalization (a, s, t, m, var_v)
          [two] b = Conv (y, w)  [neg] n = Neg (b)  [same] z = Identity (n) }""",
    "captured": """
        captured (float[1, 2, 4, 4] x, bool c) => (float[1, 2, 4, 4] y)
        <float[2, 2, 1, 1] w, float[2] s, float[2] t, float[2] m, float[2] var_v>
        { [conv] a = Conv (x, w)
          [if] i = If (c) <
            then_branch = left () => (float[1, 2, 4, 4] p) { [neg] p = Neg (a) },
            else_branch = right () => (float[1, 2, 4, 4] q) {
              [inner] k = Conv (a, w)
              [bn] q = BatchNormalization (k, s, t, m, var_v) }>
          [last] y = Conv (i, w) }""",
    "constants": """
        constants (float[1, 4] x) => (float[1, 4] y)
        { [one] k = Constant <value_float = 2.0> ()  [two] l = Sqrt (k)
          [mul] a = Mul (x, l)  [drop] d = Dropout (a)  [sink] unused = Neg (a)
          [same] y = Identity (d) }""",
}

NAMES = tuple(_TEXTS)


def build(name: str) -> onnx.ModelProto:
    """The model called *name*; declared names without values get random ones."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]>{_TEXTS[name]}')
    made = {n for node in proto.graph.node for n in node.output}
    for info in list(proto.graph.value_info):
        if info.name not in made:
            proto.graph.value_info.remove(info)
            kind = info.type.tensor_type
            rng = np.random.default_rng(zlib.crc32(f"{name} {info.name}".encode()))
            value = rng.normal(size=[d.dim_value for d in kind.shape.dim]).astype(np.float32)
            value = np.abs(value) + np.float32(0.5) if info.name.startswith("var") else value
            proto.graph.initializer.append(numpy_helper.from_array(value, info.name))
    onnx.checker.check_model(proto, full_check=True)
    return proto
