from __future__ import annotations

from onnxq.pipeline.weight_sites import DYNAMIC_LINEAR
from tests.passes.stages import run

RECIPE = "plan-dynamic{min_values=512},keep-sensitive-weights%s,plan-weights{min_values=1}"
PLAIN = """g (float[2,64] x, float[1,1,8,8] m) => (float[2,8] y, float[1,4,6,6] z)
    <float[64,32] w, float[32,8] v, float[4,1,3,3] k>
    { [large] a = MatMul (x, w)  [small] y = MatMul (a, v)  [conv] z = Conv (m, k) }"""
RECURRENT = """g (float[5,2,64] x) => (float[5,2,8] y)
    <float[1,32,64] w, float[1,32,32] r, float[64,64] u, float[32,8] v>
    { [large] a = MatMul (x, u)  [rnn] b, h = RNN <hidden_size = 32> (a, w, r)
      c = Squeeze <axes = [1]> (b)  [small] y = MatMul (c, v) }"""


def test_the_smallest_weights_are_kept_within_a_share_of_all() -> None:
    _, ctx = run(PLAIN, RECIPE % "{percent=2}")  # 36 of 2,340
    assert [*ctx.plan.excluded] == ["conv"]
    assert "few weights" in ctx.plan.kept_float["conv"]
    assert ctx.plan.precisions == {"conv": "16"}
    assert [*ctx.plan.nodes] == ["large", "small"]
    _, ctx = run(PLAIN, RECIPE % "{percent=1}")
    assert [*ctx.plan.nodes] == ["large", "small", "conv"]


def test_recurrent_networks_keep_all_that_is_not_on_integers() -> None:
    _, ctx = run(RECURRENT, RECIPE % "", opset=11)
    assert {n: p.kernel for n, p in ctx.plan.nodes.items()} == {"large": DYNAMIC_LINEAR}
    assert ctx.plan.precisions == {"rnn": "16", "small": "16"}
    assert "step after step" in ctx.plan.kept_float["small"]
