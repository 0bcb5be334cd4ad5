# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import numpy_helper

from onnxq.passes.correct.quantize_biases import QuantizeBiases
from onnxq.passes.emit.insert_qdq import InsertQdq
from onnxq.passes.plan.exclude_nodes import ExcludeNodes
from onnxq.pipeline import Context, Pass, Recipe
from onnxq.targets import Target, get_target
from onnxq.testing import random_feeds
from tests.passes.golden import outputs, parse, same_graph
from tests.passes.stages import run

CHOOSE = Recipe.parse("plan-kernels,choose-ranges,quantize-weights,quantize-biases").passes


def check(
    before: str, after: str, *more: Pass, emit: InsertQdq | None = None, target: str = "x86-vnni"
) -> tuple[onnx.ModelProto, Context]:
    """Quantize *before* with *more* passes ahead, compare with the graph *after*."""
    passes: Sequence[Pass] = (*more, *CHOOSE, emit or InsertQdq())
    model, ctx = run(before, passes, target=target)
    found = model.to_proto()
    same_graph(found.graph, parse(after).graph, {})
    for feed in random_feeds(parse(before)):
        for real, other in zip(outputs(parse(before), feed), outputs(found, feed), strict=True):
            np.testing.assert_allclose(other, real, rtol=0, atol=0.03 * np.abs(real).max())
    return found, ctx


CONV = """g (float[1,3,4,4] x) => (float[1,2,4,4] y)
    <float[2,3,1,1] w, float[2] b> { [conv] a = Conv (x, w, b)  [relu] y = Relu (a) }"""


def test_conv_relu() -> None:
    found, _ = check(
        CONV,
        """g (float[1,3,4,4] x) => (float[1,2,4,4] y)
        <float xs, uint8 xz, int8[2,3,1,1] w, float[2] ws, int8[2] wz,
         int32[2] b, float[2] bs, int32[2] bz, float ys, uint8 yz>
        { xq = QuantizeLinear (x, xs, xz)  xd = DequantizeLinear (xq, xs, xz)
          wd = DequantizeLinear <axis = 0> (w, ws, wz)
          bd = DequantizeLinear <axis = 0> (b, bs, bz)
          a = Conv (xd, wd, bd)
          q = QuantizeLinear (a, ys, yz)  y = DequantizeLinear (q, ys, yz) }""",
    )
    stored = {t.name: t for t in found.graph.initializer}
    assert {"w__q", "b__q", "y__scale", "y__zero_point"} <= stored.keys()
    assert all(t.raw_data for t in stored.values()), "integers are stored as raw bytes"
    assert "w" not in stored, "the float weight is gone"


def test_float_weights() -> None:
    check(
        CONV,
        """g (float[1,3,4,4] x) => (float[1,2,4,4] y)
        <float xs, uint8 xz, float[2,3,1,1] w, float[2] ws, int8[2] wz,
         int32[2] b, float[2] bs, int32[2] bz, float ys, uint8 yz>
        { xq = QuantizeLinear (x, xs, xz)  xd = DequantizeLinear (xq, xs, xz)
          wq = QuantizeLinear <axis = 0> (w, ws, wz)
          wd = DequantizeLinear <axis = 0> (wq, ws, wz)
          bd = DequantizeLinear <axis = 0> (b, bs, bz)
          a = Conv (xd, wd, bd)
          q = QuantizeLinear (a, ys, yz)  y = DequantizeLinear (q, ys, yz) }""",
        emit=InsertQdq(float_weights=True),
    )


def test_activation_and_bias_stay_where_the_target_wants_them() -> None:
    check(
        CONV,
        """g (float[1,3,4,4] x) => (float[1,2,4,4] y)
        <float xs, int8 xz, int8[2,3,1,1] w, float[2] ws, int8[2] wz, float[2] b, float ys, int8 yz>
        { xq = QuantizeLinear (x, xs, xz)  xd = DequantizeLinear (xq, xs, xz)
          wd = DequantizeLinear <axis = 0> (w, ws, wz)
          a = Conv (xd, wd, b)  r = Relu (a)
          q = QuantizeLinear (r, ys, yz)  y = DequantizeLinear (q, ys, yz) }""",
        target="tensorrt",
    )


def test_float_edges_and_outputs_that_integers_read() -> None:
    """A tensor that float nodes read too keeps its float form for them; an output has its own DQ."""
    check(
        """g (float[1,2,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] a, float[1,2,4,4] n)
        <float[2,2,1,1] w, float[2,2,1,1] v>
        { [one] a = Conv (x, w)  [two] y = Conv (a, v)  [neg] n = Neg (x) }""",
        """g (float[1,2,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] a, float[1,2,4,4] n)
        <float xs, uint8 xz, int8[2,2,1,1] w, float[2] ws, int8[2] wz,
         float s, uint8 z, int8[2,2,1,1] v, float[2] vs, int8[2] vz, float ys, uint8 yz>
        { xq = QuantizeLinear (x, xs, xz)  xd = DequantizeLinear (xq, xs, xz)
          wd = DequantizeLinear <axis = 0> (w, ws, wz)  vd = DequantizeLinear <axis = 0> (v, vs, vz)
          c = Conv (xd, wd)  q = QuantizeLinear (c, s, z)
          a = DequantizeLinear (q, s, z)  d = DequantizeLinear (q, s, z)
          e = Conv (d, vd)  p = QuantizeLinear (e, ys, yz)  y = DequantizeLinear (p, ys, yz)
          n = Neg (x) }""",
    )


def test_float_output() -> None:
    check(
        """g (float[2,3] x) => (float[2,5] y) <float[3,5] w> { [mm] m = MatMul (x, w)  [tanh] y = Tanh (m) }""",
        """g (float[2,3] x) => (float[2,5] y)
        <float xs, uint8 xz, int8[3,5] w, float[5] ws, int8[5] wz>
        { xq = QuantizeLinear (x, xs, xz)  xd = DequantizeLinear (xq, xs, xz)
          wd = DequantizeLinear <axis = 1> (w, ws, wz)
          m = MatMul (xd, wd)  y = Tanh (m) }""",
    )


def test_where_codes_reach_beyond_the_activation() -> None:
    """Two activations on a shared scale: Relu6's codes would reach to the other's 40."""
    text = """g (float[1,2,4,4] x) => (float[1,4,4,4] y)
        <float[2,2,1,1] w, float[2,2,1,1] v, float[4,4,1,1] u, float low = {0}, float high = {0.25}>
        { [one] a = Conv (x, w)  [clip] r = Clip (a, low, high)  [two] b = Conv (x, v)
          [join] c = Concat <axis = 1> (r, b)  [last] y = Conv (c, u) }"""

    def clip(target: str | Target) -> tuple[gs.Node, list[str]]:
        model, ctx = run(text, [*CHOOSE, InsertQdq()], target=target)
        (found,) = (n for n in model.graph.nodes if n.op == "Clip")
        return found, [d.node for d in ctx.journal.declines]

    node, declined = clip("x86-vnni")  # of codes
    assert node.inputs[0].inputs[0].op == "QuantizeLinear" and not declined
    scale, zero = (float(t.values) for t in node.inputs[0].inputs[0].inputs[1:])
    assert abs((int(node.inputs[2].values) - zero) * scale - 0.25) <= scale / 2
    node, declined = clip(replace(get_target("x86-vnni"), clips_codes=False))
    assert node.inputs[0].inputs[0].op == "Conv" and declined == ["one"]


def test_nothing_planned_changes_nothing() -> None:
    model, ctx = run(CONV, [ExcludeNodes(patterns=("*",)), *CHOOSE, InsertQdq()])
    same_graph(model.to_proto().graph, parse(CONV).graph, {})
    assert not ctx.qparams


def test_names_and_shared_parameters() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,2,2] y)
        <float[2,2,1,1] w, float[2,2,1,1] v>
        { [one] a = Conv (x, w)  [pool] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
          [two] y = Conv (p, v) }"""
    model, _ = run(text, [*CHOOSE, InsertQdq()])
    nodes = {n.name: n for n in model.graph.nodes}
    assert {"a__quantize", "a__dequantize", "p__quantize", "p__dequantize"} <= nodes.keys()
    assert nodes["p__quantize"].inputs[1] is nodes["a__quantize"].inputs[1]
    weights = {t.name: numpy_helper.to_array(t) for t in model.to_proto().graph.initializer}
    assert weights["a__scale"].shape == ()
    assert weights["a__scale"].dtype == np.float32


def test_a_tensor_that_is_padded_has_a_zero_point_of_its_own() -> None:
    text = """g (float[1,3,4,4] x) => (float[1,4,4,4] y) <float[3,3,1,1] w, float[4,4,1,1] v,
        int64[8] p = {0, 0, 0, 0, 0, 1, 0, 0}> {
        [conv] a = Conv (x, w)  [same] b = Transpose <perm = [0,1,3,2]> (a)
        [pad] c = Pad (b, p)  [last] y = Conv (c, v) }"""
    proto = run(text, (*CHOOSE, InsertQdq()))[0].to_proto()
    zeros = {n.output[0]: n.input[2] for n in proto.graph.node if n.op_type == "DequantizeLinear"}
    (padded,) = (n.input[0] for n in proto.graph.node if n.op_type == "Pad")
    assert padded in zeros and [*zeros.values()].count(zeros[padded]) == 1
    stored = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert stored[zeros[padded]] == stored[zeros["a"]]


def test_fewer_codes_than_the_type_has_are_clipped_as_codes_where_the_target_can() -> None:
    seven = Recipe.parse("plan-kernels{activations=uint7},choose-ranges,quantize-weights").passes
    kinds = {}
    for target in ("x86-vnni", "generic"):
        passes = (*seven, QuantizeBiases(), InsertQdq())
        graph = run(CONV, passes, target=target)[0].to_proto().graph
        (clip, *_) = [n for n in graph.node if n.op_type == "Clip"]
        made_by = {o: n.op_type for n in graph.node for o in n.output}
        kinds[target] = made_by.get(clip.input[0], "input")
        (bound,) = [t for t in graph.initializer if t.name == clip.input[2]]
        if target == "x86-vnni":
            assert numpy_helper.to_array(bound) == np.uint8(127)
    assert kinds == {"x86-vnni": "QuantizeLinear", "generic": "input"}
