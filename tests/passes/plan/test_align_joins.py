from __future__ import annotations

import numpy as np

from onnxq.pipeline.scale_groups import scale_groups
from onnxq.quant import QuantSpec, Shared
from tests.passes.stages import run

NET = """g (float[1,2,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z)
    <float[2,2,1,1] a, float[2,2,1,1] b, float[2,4,1,1] c, float[2,2,1,1] d>
    { [one] p = Conv(x, a)  [pool] q = MaxPool<kernel_shape=[1,1]>(p)  [two] r = Conv(x, b)
      [join] s = Concat<axis=1>(q, r)  [three] y = Conv(s, c)  [four] z = Conv(q, d) }"""
DATA = [
    {"x": np.random.default_rng(i).normal(size=(1, 2, 4, 4)).astype(np.float32)} for i in range(4)
]


def test_inputs_that_others_read_too_share_the_scale() -> None:
    _, before = run(NET, "plan-kernels", target="fpga-pow2")
    assert isinstance(before.plan.tensors["p"], QuantSpec)
    _, ctx = run(NET, "plan-kernels,align-joins,choose-ranges", target="fpga-pow2", data=DATA)
    assert ctx.plan.tensors["p"] == Shared("s")
    assert ctx.plan.tensors["q"] == Shared("p")
    assert len({id(ctx.qparams[n]) for n in "pqrs"}) == 1
    weights = frozenset("abcd")
    group = next(g for g in scale_groups(ctx.plan, weights) if "s" in g.tensors)
    assert group.rounded == ("s",)
    assert not ctx.journal.declines


def test_joins_of_joins() -> None:
    text = (
        NET.replace("(q, r)", "(p, r)")
        .replace(
            "[three] y = Conv(s, c)", "[more] t = Concat<axis=1>(s, q)  [three] y = Conv(t, c)"
        )
        .replace("float[2,4,1,1] c", "float[2,6,1,1] c")
    )
    _, ctx = run(text, "plan-kernels,align-joins,choose-ranges", target="fpga-pow2", data=DATA)
    assert len({id(ctx.qparams[n]) for n in "pqrst"}) == 1


def test_targets_with_floating_point_decline() -> None:
    _, ctx = run(NET, "plan-kernels,align-joins", target="x86")
    assert isinstance(ctx.plan.tensors["p"], QuantSpec)


def test_constants_keep_their_scale() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
        <float[2,2,1,1] a, float[1,2,4,4] k, float[2,4,1,1] c>
        { [one] p = Conv(x, a)  [join] s = Concat<axis=1>(p, k)  [three] y = Conv(s, c) }"""
    _, ctx = run(text, "plan-kernels,align-joins", target="fpga-pow2")
    assert [d.node for d in ctx.journal.declines] == ["join"]
    assert isinstance(ctx.plan.tensors["k"], QuantSpec)
