"""Nodes of the optimized graph are told from the nodes that they were made from."""

from __future__ import annotations

import onnx

from onnxq.graph import Model
from onnxq.runtime.coverage import kernels, optimized
from onnxq.runtime.origins import origins
from tests.passes.golden import parse
from tests.report.coverage.broken import conv, group, matrix


def made_from(proto: onnx.ModelProto) -> dict[str, str]:
    """Operators of the optimized graph by the node that each was."""
    run = optimized(proto).graph
    names = origins(proto.graph, run)
    return {names[n.name]: n.op_type for n in run.node if n.name in names}


def test_a_convolution_in_another_layout() -> None:
    assert made_from(conv())["node"] == "QLinearConv"


def test_float_nodes_in_blocks_are_named_after_their_tensors() -> None:
    text = """g (float[1,16,8,8] x) => (float[1,16,4,4] y) <float[16,16,3,3] w>
        { [conv] a = Conv <pads = [1,1,1,1]> (x, w)  [relu] r = Relu (a)
          [pool] y = MaxPool <kernel_shape = [2,2], strides = [2,2]> (r) }"""
    proto = parse(text)
    assert set(made_from(proto)) & {"conv", "relu"}
    assert made_from(proto)["pool"] == "MaxPool"
    assert kernels(Model.load(proto)) == {}


def test_a_pool_of_16_bit_is_no_integer_kernel() -> None:
    pool = "MaxPool <kernel_shape = [1,1]> (xd)"
    assert "node" not in kernels(Model.load(group(pool, x="s, u16", y="s, u16", opset=21)))
    assert kernels(Model.load(group(pool, x="s, z", y="s, z")))["node"] == "MaxPool (8 bit)"


def test_a_name_that_looks_like_one_of_the_optimizer_is_kept() -> None:
    proto = matrix("Gemm")
    (gemm,) = [n for n in proto.graph.node if n.name == "node"]
    gemm.name = "node/MatMulAddFusion"
    assert kernels(Model.load(proto))["node/MatMulAddFusion"] == "QGemm"
    gemm.name = "node_token_7"
    assert kernels(Model.load(proto))["node_token_7"] == "QGemm"


def test_a_function_in_parts_is_found_by_what_it_computes() -> None:
    text = """g (float[1,4,8] x) => (float[1,4,8] y)
        <float[8] s, float[8] b, float two = {2}, float e = {0.00001}>
        { [m] m = ReduceMean <axes = [-1]> (x)  [d] d = Sub (x, m)  [p] p = Pow (d, two)
          [v] v = ReduceMean <axes = [-1]> (p)  [a] a = Add (v, e)  [q] q = Sqrt (a)
          [n] n = Div (d, q)  [w] w = Mul (n, s)  [z] y = Add (w, b) }"""
    assert made_from(parse(text)) == {"z": "LayerNormalization"}


def test_codes_as_inputs_of_the_model() -> None:
    text = """g (uint8[1,4,6,6] x) => (uint8[1,4,6,6] y) <float s = {0.1}, uint8 z = {3}>
        { a = DequantizeLinear (x, s, z)  [move] b = Transpose <perm = [0,1,3,2]> (a)
          y = QuantizeLinear (b, s, z) }"""
    assert kernels(Model.load(parse(text)))["move"] == "Transpose (8 bit)"
