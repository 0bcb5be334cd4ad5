# ruff: noqa: E501 - graphs read best with a node on one line
"""Small models, one for each rule by which ONNX Runtime makes integer kernels."""

from __future__ import annotations

MODELS: dict[str, tuple[str, dict[str, str]]] = {
    "conv-relu": (
        """g (float[1,3,6,6] x) => (float[1,4,6,6] y) <float[4,3,3,3] w, float[4] b>
        { [conv] a = Conv <pads = [1,1,1,1]> (x, w, b)  [relu] y = Relu (a) }""",
        {"conv": "QLinearConv"},
    ),
    "conv-clip": (
        """g (float[1,3,6,6] x) => (float[1,4,6,6] y)
        <float[4,3,3,3] w, float low = {0}, float high = {6}>
        { [conv] a = Conv (x, w)  [clip] y = Clip (a, low, high) }""".replace("6,6] y", "4,4] y"),
        {"conv": "QLinearConv"},
    ),
    "residual": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,1,1] w, float[4,4,1,1] v, float[4,4,1,1] u>
        { [one] a = Conv (x, w)  [relu1] r = Relu (a)  [two] c = Conv (r, v)  [add] s = Add (c, r)
          [relu2] t = Relu (s)  [three] y = Conv (t, u) }""",
        {"one": "QLinearConv", "two": "QLinearConv", "add": "QLinearAdd", "three": "QLinearConv"},
    ),
    "residual-of-input": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,1,1] w, float[4,4,1,1] u>
        { [one] a = Conv (x, w)  [add] s = Add (a, x)  [three] y = Conv (s, u) }""",
        {"one": "QLinearConv", "add": "QLinearAdd", "three": "QLinearConv"},
    ),
    "add-to-itself": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,1,1] w, float[4,4,1,1] u>
        { [one] a = Conv (x, w)  [add] s = Add (a, a)  [three] y = Conv (s, u) }""",
        {"one": "QLinearConv", "add": "QLinearAdd", "three": "QLinearConv"},
    ),
    "add-constant": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,1,1] w, float[6,6] k, float[4,4,1,1] u>
        { [one] a = Conv (x, w)  [add] s = Add (a, k)  [three] y = Conv (s, u) }""",
        {"one": "QLinearConv", "add": "QLinearAdd", "three": "QLinearConv"},
    ),
    "mul-scalar-between": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y)
        <float[4,4,1,1] w, float k = {0.5}, float[4,4,1,1] u>
        { [one] a = Conv (x, w)  [relu] r = Relu (a)  [mul] s = Mul (k, r)
          [neg] n = Neg (s)  [three] m = Conv (s, u)  [sum] y = Add (m, n) }""",
        {"one": "QLinearConv", "mul": "QLinearMul", "three": "QLinearConv"},
    ),
    "concat": (
        """g (float[1,2,6,6] x) => (float[1,6,3,3] y)
        <float[3,2,1,1] w, float[3,2,3,3] v, float[6,6,1,1] u>
        { [left] a = Conv (x, w)  [right] b = Conv <pads = [1,1,1,1]> (x, v)
          [join] c = Concat <axis = 1> (a, b)
          [pool] p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (c)  [last] y = Conv (p, u) }""",
        {
            "left": "QLinearConv",
            "right": "QLinearConv",
            "join": "QLinearConcat",
            "pool": "MaxPool (8 bit)",
            "last": "QLinearConv",
        },
    ),
    "concat-with-itself": (
        """g (float[1,2,6,6] x) => (float[1,6,6,6] y) <float[3,2,1,1] w, float[6,6,1,1] u>
        { [one] a = Conv (x, w)  [join] c = Concat <axis = 1> (a, a)  [last] y = Conv (c, u) }""",
        {"one": "QLinearConv", "join": "QLinearConcat", "last": "QLinearConv"},
    ),
    "concat-constant": (
        """g (float[1,2,6,6] x) => (float[1,6,6,6] y) <float[3,2,1,1] w, float[1,3,6,6] k, float[6,6,1,1] u>
        { [one] a = Conv (x, w)  [join] c = Concat <axis = 1> (a, k)  [last] y = Conv (c, u) }""",
        {"one": "QLinearConv", "join": "QLinearConcat", "last": "QLinearConv"},
    ),
    "gemm": (
        """g (float[3,5] x) => (float[3,4] y) <float[5,6] w, float[6] b, float[4,6] v, float[4] c>
        { [one] a = Gemm (x, w, b)  [relu] r = Relu (a)  [two] y = Gemm <transB = 1> (r, v, c) }""",
        {"one": "QGemm", "two": "QGemm"},
    ),
    "gemm-without-bias": (
        """g (float[3,5] x) => (float[3,4] y) <float[5,6] w, float[6,4] v>
        { [one] a = Gemm <alpha = 0.5> (x, w)  [two] y = Gemm (a, v) }""",
        {"one": "QGemm", "two": "QGemm"},
    ),
    "matmul-3d": (
        """g (float[2,3,5] x) => (float[2,3,4] y) <float[5,6] w, float[6,4] v>
        { [one] a = MatMul (x, w)  [two] y = MatMul (a, v) }""",
        {"one": "QLinearMatMul", "two": "MatMulIntegerToFloat"},
    ),
    "matmul-batched-weight": (
        """g (float[2,3,5] x) => (float[2,3,4] y) <float[2,5,6] w, float[2,6,4] v>
        { [one] a = MatMul (x, w)  [two] y = MatMul (a, v) }""",
        {"one": "QLinearMatMul", "two": "MatMulIntegerToFloat"},
    ),
    "matmul-add": (
        """g (float[2,3,5] x) => (float[2,3,4] y) <float[5,6] w, float[6] b, float[6,4] v, float[4] c>
        { [one] a = MatMul (x, w)  [add1] r = Add (a, b)  [tanh] t = Tanh (r)
          [two] m = MatMul (t, v)  [add2] y = Add (c, m) }""",
        {"one": "QGemm", "two": "QGemm"},
    ),
    "matmul-add-free-batch": (
        """g (float[N,3,5] x) => (float[N,3,4] y) <float[5,6] w, float[6] b, float[6,4] v, float[4] c>
        { [one] a = MatMul (x, w)  [add1] r = Add (a, b)  [relu] t = Relu (r)
          [two] m = MatMul (t, v)  [add2] s = Add (c, m)  [sum] y = Add (s, s) }""",
        {"one": "MatMulIntegerToFloat", "two": "MatMulIntegerToFloat"},
    ),
    "matmul-add-shared-bias": (
        """g (float[N,3,5] x) => (float[N,3,5] y) <float[5,5] w, float[5] b, float[5,5] v>
        { [one] a = MatMul (x, w)  [add1] r = Add (a, b)  [tanh] t = Tanh (r)
          [two] m = MatMul (t, v)  [add2] y = Add (m, b) }""",
        {"one": "MatMulIntegerToFloat", "two": "MatMulIntegerToFloat"},
    ),
    "average-pool": (
        """g (float[1,3,6,6] x) => (float[1,2] y) <float[4,3,1,1] w, float[4,4,1,1] v, float[4,2] u>
        { [one] a = Conv (x, w)  [avg] p = AveragePool <kernel_shape = [2,2], strides = [2,2]> (a)
          [two] c = Conv (p, v)  [gap] q = GlobalAveragePool (c)  [flat] f = Flatten (q)
          [fc] y = Gemm (f, u) }""",
        {
            "one": "QLinearConv",
            "avg": "QLinearAveragePool",
            "two": "QLinearConv",
            "gap": "QLinearGlobalAveragePool",
            "flat": "Flatten (8 bit)",
            "fc": "QGemm",
        },
    ),
    "gate": (
        """g (float[1,3,6,6] x) => (float[1,4,6,6] y) <float[4,3,1,1] w, float[4,4,1,1] v>
        { [one] a = Conv (x, w)  [sig] s = Sigmoid (a)  [mul] m = Mul (a, s)  [two] y = Conv (m, v) }""",
        {"one": "QLinearConv", "sig": "QLinearSigmoid", "mul": "QLinearMul", "two": "QLinearConv"},
    ),
    "leaky-relu": (
        """g (float[1,3,6,6] x) => (float[1,4,6,6] y) <float[4,3,1,1] w, float[4,4,1,1] v>
        { [one] a = Conv (x, w)  [leaky] s = LeakyRelu <alpha = 0.1> (a)  [two] y = Conv (s, v) }""",
        {"one": "QLinearConv", "leaky": "QLinearLeakyRelu", "two": "QLinearConv"},
    ),
    "shared-weight": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,1,1] w, float[4] b>
        { [one] a = Conv (x, w, b)  [two] y = Conv (a, w, b) }""",
        {"one": "QLinearConv", "two": "QLinearConv"},
    ),
    "shared-bias-alone": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,1,1] w, float[4,4,1,1] v, float[4] b>
        { [one] a = Conv (x, w, b)  [two] y = Conv (a, v, b) }""",
        {"one": "QLinearConv", "two": "QLinearConv"},
    ),
    "weight-of-conv-and-of-float": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y, float[4,4,1,1] z) <float[4,4,1,1] w>
        { [one] y = Conv (x, w)  [neg] z = Neg (w) }""",
        {"one": "QLinearConv"},
    ),
    "weight-of-gemm-and-matmul": (
        """g (float[3,4] x) => (float[3,4] y) <float[4,4] w>
        { [one] a = Gemm <transB = 1> (x, w)  [two] y = MatMul (a, w) }""",
        {"one": "QGemm", "two": "MatMulIntegerToFloat"},
    ),
    "output-and-integers": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] a, float[1,4,6,6] y) <float[4,4,1,1] w, float[4,4,1,1] v>
        { [one] a = Conv (x, w)  [two] y = Conv (a, v) }""",
        {"one": "QLinearConv", "two": "QLinearConv"},
    ),
    "output-moved-and-integers": (
        """g (float[1,4,6,6] x) => (float[1,4,3,3] p, float[1,4,3,3] y) <float[4,4,1,1] w, float[4,4,1,1] v>
        { [one] a = Conv (x, w)  [pool] p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (a)
          [two] y = Conv (p, v) }""",
        {"one": "QLinearConv", "pool": "MaxPool (8 bit)", "two": "QLinearConv"},
    ),
    "read-by-integers-and-float": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] z, float[1,4,6,6] y) <float[4,4,1,1] w, float[4,4,1,1] v>
        { [one] a = Conv (x, w)  [two] y = Conv (a, v)  [neg] z = Neg (a) }""",
        {"one": "QLinearConv", "two": "QLinearConv"},
    ),
    "relu-and-bare": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] z, float[1,4,6,6] y) <float[4,4,1,1] w, float[4,4,1,1] v>
        { [one] a = Conv (x, w)  [relu] r = Relu (a)  [two] y = Conv (r, v)  [neg] z = Neg (a) }""",
        {"one": "QLinearConv", "two": "QLinearConv"},
    ),
    "captured": (
        """g (float[1,4,6,6] x, bool p) => (float[1,4,6,6] y) <float[4,4,1,1] w, float[4,4,1,1] v>
        { [one] a = Conv (x, w)  [two] b = Conv (a, v)
          [if] i = If (p) <then_branch = t () => (float[1,4,6,6] m) { [n1] m = Neg (a) },
                           else_branch = e () => (float[1,4,6,6] n) { [n2] n = Abs (a) }>
          [sum] y = Add (b, i) }""",
        {"one": "QLinearConv", "two": "QLinearConv"},
    ),
    "split": (
        """g (float[1,4,6,6] x) => (float[1,2,6,6] y, float[1,2,6,6] z)
        <float[4,4,1,1] w, float[2,2,1,1] v, float[2,2,1,1] u>
        { [one] a = Conv (x, w)  [split] b, c = Split <axis = 1> (a)  [two] y = Conv (b, v)
          [three] z = Conv (c, u) }""",
        {
            "one": "QLinearConv",
            "split": "Split (8 bit)",
            "two": "QLinearConv",
            "three": "QLinearConv",
        },
    ),
    "split-half-float": (
        """g (float[1,4,6,6] x) => (float[1,2,6,6] y, float[1,2,6,6] z) <float[4,4,1,1] w, float[2,2,1,1] v>
        { [one] a = Conv (x, w)  [split] b, c = Split <axis = 1> (a)  [two] y = Conv (b, v)
          [neg] z = Neg (c) }""",
        {"one": "QLinearConv", "split": "Split (8 bit)", "two": "QLinearConv"},
    ),
    "resize": (
        """g (float[1,3,6,6] x) => (float[1,4,12,12] y)
        <float[4,3,1,1] w, float[4] s = {1, 1, 2, 2}, float[4,4,1,1] v>
        { [one] a = Conv (x, w)
          [up] r = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (a, , s)
          [two] y = Conv (r, v) }""",
        {"one": "QLinearConv", "up": "Resize (8 bit)", "two": "QLinearConv"},
    ),
    "resize-linear": (
        """g (float[1,3,6,6] x) => (float[1,4,12,12] y)
        <float[4,3,1,1] w, float[4] s = {1, 1, 2, 2}, float[4,4,1,1] v>
        { [one] a = Conv (x, w)  [up] r = Resize <mode = "linear"> (a, , s)  [two] y = Conv (r, v) }""",
        {"one": "QLinearConv", "two": "QLinearConv"},
    ),
    "depthwise": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,1,3,3] w, float[4] b, float[4,4,1,1] v>
        { [one] a = Conv <group = 4, pads = [1,1,1,1]> (x, w, b)  [two] y = Conv (a, v) }""",
        {"one": "QLinearConv", "two": "QLinearConv"},
    ),
    "conv-1d": (
        """g (float[1,3,16] x) => (float[1,4,14] y) <float[4,3,3] w, float[4] b, float[4,4,1] v>
        { [one] a = Conv (x, w, b)  [relu] r = Relu (a)  [two] y = Conv (r, v) }""",
        {"one": "QLinearConv", "two": "QLinearConv"},
    ),
    "conv-3d": (
        """g (float[1,2,5,5,5] x) => (float[1,3,3,3,3] y) <float[3,2,3,3,3] w, float[3] b>
        { [one] y = Conv (x, w, b) }""",
        {"one": "QLinearConv"},
    ),
    "asymmetric-pads": (
        """g (float[1,3,5,5] x) => (float[1,4,3,3] y) <float[4,3,3,3] w, float[4] b>
        { [one] y = Conv <pads = [0,0,1,1], strides = [2,2]> (x, w, b) }""".replace(
            "3,3] y", "2,2] y"
        ),
        {"one": "QLinearConv"},
    ),
    "moves": (
        """g (float[1,4,6,6] x) => (float[1,4] y)
        <float[4,4,1,1] w, int64[1] st = {1}, int64[1] en = {4}, int64[1] ax = {2}, int64[2] sh = {1, 72},
         int64[1] one = {1}, float[72,4] u>
        { [conv] a = Conv (x, w)  [slice] b = Slice (a, st, en, ax)
          [transpose] c = Transpose <perm = [0,2,3,1]> (b)  [reshape] d = Reshape (c, sh)
          [unsqueeze] e = Unsqueeze (d, one)  [squeeze] f = Squeeze (e, one)  [fc] y = Gemm (f, u) }""",
        {
            "conv": "QLinearConv",
            "slice": "Slice (8 bit)",
            "transpose": "Transpose (merged)",
            "reshape": "Reshape (8 bit)",
            "fc": "QGemm",
        },
    ),
    "relu-of-input": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float[4,4,1,1] w>
        { [relu] r = Relu (x)  [one] y = Conv (r, w) }""",
        {"one": "QLinearConv"},
    ),
    "input-read-twice": (
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y, float[1,4,6,6] z) <float[4,4,1,1] w, float[4,4,1,1] v>
        { [one] y = Conv (x, w)  [two] z = Conv (x, v) }""",
        {"one": "QLinearConv", "two": "QLinearConv"},
    ),
    "free-batch": (
        """g (float[N,3,6,6] x) => (float[N,2] y) <float[4,3,1,1] w, float[4,2] u, int64[2] sh = {-1, 4}>
        { [one] a = Conv (x, w)  [gap] q = GlobalAveragePool (a)  [flat] f = Reshape (q, sh)
          [fc] y = Gemm (f, u) }""",
        {
            "one": "QLinearConv",
            "gap": "QLinearGlobalAveragePool",
            "flat": "Reshape (8 bit)",
            "fc": "QGemm",
        },
    ),
    "transposed-a": (
        """g (float[5,3] x) => (float[3,4] y) <float[5,4] w, float[4] b>
        { [one] y = Gemm <transA = 1> (x, w, b) }""",
        {"one": "QGemm"},
    ),
}
"""By name: a graph, and the integer kernel expected of each of its nodes."""
