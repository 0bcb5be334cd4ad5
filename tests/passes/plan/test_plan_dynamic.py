from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import OptionError
from onnxq.passes.plan.plan_dynamic import PlanDynamic
from onnxq.pipeline.weight_sites import DYNAMIC_LINEAR, DYNAMIC_LSTM
from onnxq.quant import PerBlock, QuantSpec
from tests.passes.stages import run

LAYERS = """g (float[2,8] x, float[3,2,8] s, float[8,4] k, bool c)
    => (float[2,4] y, float[3,1,2,4] h)
    <float[8,8] w, float[4,8] v, float[4] b, float[1,16,8] wl, float[1,16,4] rl>
    { [mm] a = MatMul (x, w)  [gemm] y0 = Gemm <transB = 1> (a, v, b)
      [computed] z = MatMul (a, k)
      [if] y1 = If (c) <then_branch = left () => (float[2,4] p) { [inner] t = MatMul (a, w)
                                                                [to] p = MatMul (t, k) },
                        else_branch = right () => (float[2,4] q) { [same] q = Identity (z) }>
      [add] y = Add (y0, y1)
      [lstm] h = LSTM <hidden_size = 4> (s, wl, rl) }"""


def test_layers_of_all_graphs_are_planned() -> None:
    _, ctx = run(LAYERS, "plan-dynamic{min_values=1}")
    kernels = {n: p.kernel for n, p in ctx.plan.nodes.items()}
    linear = dict.fromkeys(("mm", "gemm", "inner"), DYNAMIC_LINEAR)
    assert kernels == linear | {"lstm": DYNAMIC_LSTM}
    specs = {n: s for n in ("w", "v", "wl") if isinstance(s := ctx.plan.tensors[n], QuantSpec)}
    assert {n: s.granularity for n, s in specs.items()} == {
        "w": PerBlock(0, 0), "v": PerBlock(1, 0), "wl": PerBlock(2, 0)
    }  # fmt: skip
    assert all(s.pair_sum_limit == 128 and s.pair_axis is not None for s in specs.values())
    declined = {d.node: d.reason for d in ctx.journal.declines}
    assert declined.keys() == {"computed", "to"}
    assert "'k' is not stored" in declined["computed"]


def test_what_is_left() -> None:
    _, ctx = run(LAYERS, 'plan-dynamic{min_values=64,ops=["MatMul","LSTM"]}', target="generic")
    assert [*ctx.plan.nodes] == ["mm", "inner"], "64 values are enough, a Gemm was not asked for"
    reasons = {d.node: d.reason for d in ctx.journal.declines}
    assert "no standard operator" in reasons["lstm"]
    _, ctx = run(LAYERS, 'exclude-nodes{patterns=["mm"]},plan-dynamic{min_values=65}')
    assert [*ctx.plan.nodes] == ["lstm"]
    assert ctx.plan.kept_float["mm"] == "excluded by 'mm'"
    with pytest.raises(OptionError, match="Conv has no dynamic form"):
        PlanDynamic(ops=("Conv",))


def test_a_weight_read_along_both_axes_is_planned_once() -> None:
    text = """g (float[4,4] x) => (float[4,4] y) <float[4,4] w>
        { [one] a = MatMul (x, w)  [two] y = Gemm <transB = 1> (a, w) }"""
    _, ctx = run(text, "plan-dynamic{min_values=1}", weights={"w": np.eye(4, dtype=np.float32)})
    assert [*ctx.plan.nodes] == ["one"]
    assert "another axis" in ctx.journal.declines[0].reason
