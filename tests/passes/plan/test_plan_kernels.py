from __future__ import annotations

import numpy as np

from onnxq.quant import Derived, PerAxis, PerTensor, QuantSpec, Shared
from tests.passes.stages import run

CHAIN = """g (float[1,3,6,6] x) => (float[1,4,3,3] y)
    <float[4,3,1,1] w, float[4] b, float[4,4,1,1] v>
    { [conv] a = Conv (x, w, b)  [relu] r = Relu (a)
      [pool] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)  [last] y = Conv (p, v) }"""


def test_conv_chain() -> None:
    _, ctx = run(CHAIN, "plan-kernels")
    plan = ctx.plan
    assert list(plan.nodes) == ["conv", "pool", "last"]
    assert plan.nodes["conv"].absorbs == ("relu",)
    assert plan.nodes["conv"].inputs == (0, 1, 2)
    assert plan.tensors["b"] == Derived(("x", "w"))
    assert plan.tensors["p"] == Shared("r")
    weight, out = plan.tensors["w"], plan.tensors["r"]
    assert isinstance(weight, QuantSpec) and isinstance(out, QuantSpec)
    assert weight.granularity == PerAxis(0)
    assert weight.pair_sum_limit == 128
    assert out.limits == (0.0, np.inf)
    assert "a" not in plan.tensors


def test_defaults_give_way_to_options() -> None:
    recipe = "plan-kernels{weights=uint8,granularity=tensor,activations=int8}"
    _, ctx = run(CHAIN, recipe)
    weight, out = ctx.plan.tensors["w"], ctx.plan.tensors["r"]
    assert isinstance(weight, QuantSpec) and isinstance(out, QuantSpec)
    assert (weight.dtype.name, weight.granularity) == ("uint8", PerTensor())
    assert weight.pair_sum_limit is None
    assert out.dtype.name == "int8"


def test_axis_of_the_output_channels() -> None:
    _, ctx = run(
        """g (float[2,3] x) => (float[2,7] y)
        <float[5,3] w, float[5,6] v, float[6,7] u>
        { [one] a = Gemm <transB = 1> (x, w)  [two] b = Gemm (a, v)  [three] y = MatMul (b, u) }""",
        "plan-kernels",
    )
    axes = [s.granularity for n in "wvu" if isinstance(s := ctx.plan.tensors[n], QuantSpec)]
    assert axes == [PerAxis(0), PerAxis(1), PerAxis(1)]
    outputs = [planned.outputs for planned in ctx.plan.nodes.values()]
    assert outputs == [(0,), (0,), ()], "the last result stays in float"


def test_residual_and_join_share_and_the_tail_stays_float() -> None:
    _, ctx = run(
        """g (float[1,4,4,4] x) => (float[1,8,4,4] y)
        <float[4,4,1,1] w, float[4,4,1,1] v, float[8,8,1,1] u>
        { [one] a = Conv (x, w)  [two] b = Conv (a, v)  [add] s = Add (a, b)
          [join] c = Concat <axis = 1> (s, a)  [three] d = Conv (c, u)  [sig] y = Sigmoid (d) }""",
        "plan-kernels",
    )
    assert list(ctx.plan.nodes) == ["one", "two", "add", "join", "three"]
    assert ctx.plan.tensors["s"] == Shared("c"), "it feeds the join alone"
    assert isinstance(ctx.plan.tensors["a"], QuantSpec), "others read it too"
    assert "no integer layer both before and behind" in ctx.plan.kept_float["sig"]


def test_vector_behind_a_matmul_is_its_bias() -> None:
    _, ctx = run(
        """g (float[2,3,5] x) => (float[2,3,6] y, float[2,3,6] z)
        <float[5,6] w, float[6] b, float[5,6] v, float[3,6] c>
        { [one] a = MatMul (x, w)  [add1] y = Add (a, b)
          [two] m = MatMul (x, v)  [add2] z = Add (m, c) }""",
        "plan-kernels",
    )
    assert ctx.plan.nodes["one"].adds == ("add1", 1)
    assert ctx.plan.tensors["b"] == Derived(("x", "w"))
    assert ctx.plan.nodes["two"].adds is None, "what is added is no vector"
    assert "c" not in ctx.plan.tensors


def test_nodes_without_a_name_decline() -> None:
    text = "g (float[2,3] x) => (float[2,5] y) <float[3,5] w> { y = MatMul (x, w) }"
    _, ctx = run(text, "plan-kernels")
    assert not ctx.plan.nodes
    assert "'name-nodes' gives one" in ctx.plan.kept_float[""]


def test_declines() -> None:
    _, ctx = run(
        """g (float[1,3,4,4] x, float[2,3,1,1] k) => (float[1,2,4,4] y, float[1,2,4,4] z)
        { [computed] y = Conv (x, k)  [tanh] z = Tanh (y) }""",
        "plan-kernels",
    )
    assert not ctx.plan.nodes and not ctx.plan.tensors
    assert "its weight 'k' is computed" in ctx.plan.kept_float["computed"]
    assert "no integer kernel for Tanh" in ctx.plan.kept_float["tanh"]


def test_one_scale_for_the_model() -> None:
    recipe = "plan-kernels{granularity=model},choose-ranges,quantize-weights{method=mse}"
    rng = np.random.default_rng(0)
    data = [{"x": rng.normal(size=(1, 3, 6, 6)).astype(np.float32)} for _ in range(4)]
    model, ctx = run(CHAIN, f"{recipe},quantize-biases,insert-qdq", data=data)
    assert ctx.qparams["x"] is ctx.qparams["a"] is ctx.qparams["p"]
    assert ctx.qparams["w"] is ctx.qparams["v"]
    assert ctx.qparams["w"].axis is None
    assert "Relu" in [n.op for n in model.nodes()], "the shared codes reach below zero"
    stored = {n.inputs[1].name for n in model.nodes() if n.op == "DequantizeLinear"}
    assert len(stored) == 3, "scales: activations, weights, and the bias between them"
    _, one = run(
        CHAIN,
        recipe,
        target="x86-vnni",
        data=data,
        weights={"w": 9 * np.ones((4, 3, 1, 1), np.float32)},
    )
    assert float(one.qparams["v"].scale) > 0.05, "the largest weights decide"


def test_codes_wider_than_any_kernel_reads_are_kept_to_what_layers_read() -> None:
    text = """g (float[1,2,6,6] x) => (float[1,4,6,4] y)
        <float[2,2,1,1] w, float[4,2,1,1] v, int64[1] zero, int64[1] five, int64[1] axis>
        { [part] s = Slice (x, zero, five, axis)  [one] a = Conv (s, w)  [curve] t = Tanh (a)
          [two] y = Conv (t, v) }"""
    ends = {n: np.array([i], np.int64) for n, i in (("zero", 0), ("five", 4), ("axis", 3))}
    wide, narrow = (
        run(text, f"plan-kernels{{activations={d}}}", weights=ends)[1].plan
        for d in ("uint16", "uint8")
    )
    assert list(narrow.nodes) == ["part", "one", "two"]
    assert {"x", "s", "a", "t", "y"} <= narrow.tensors.keys()
    assert list(wide.nodes) == ["one", "two"]
    assert {"s", "t"} <= wide.tensors.keys() and not {"x", "a", "y"} & wide.tensors.keys()
