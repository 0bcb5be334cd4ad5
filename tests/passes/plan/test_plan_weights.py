from __future__ import annotations

import pytest

from onnxq.errors import OptionError
from onnxq.passes.plan.plan_weights import PlanWeights
from onnxq.pipeline.weight_sites import STORED
from onnxq.quant import PerBlock, QuantSpec
from tests.passes.stages import run

LAYERS = """g (int64[2] i, float[1,4,3,3] m) => (float[2,8] y, float[1,8,3,3] z)
    <float[9,64] t, float[64,8] w, float[8,4,1,1] k, float[8] b>
    { [take] e = Gather (t, i)  [mm] y0 = MatMul (e, w)  [add] y = Add (y0, b)
      [conv] z = Conv (m, k) }"""


def test_weights_and_tables_are_planned() -> None:
    _, ctx = run(LAYERS, "plan-weights{weights=int4,block=32,symmetric=false,min_values=32}")
    assert [*ctx.plan.nodes] == ["take", "mm", "conv"]
    assert {p.kernel for p in ctx.plan.nodes.values()} == {STORED}
    specs = {n: s for n in "twk" if isinstance(s := ctx.plan.tensors[n], QuantSpec)}
    assert {n: s.granularity for n, s in specs.items()} == {
        "t": PerBlock(1, 0, flat=True), "w": PerBlock(0, 32), "k": PerBlock(1, 32, flat=True)
    }  # fmt: skip
    assert {n: s.dtype.name for n, s in specs.items()} == {"t": "uint8", "w": "uint4", "k": "uint4"}
    assert "b" not in ctx.plan.tensors


def test_small_weights_and_what_is_planned_already_stay() -> None:
    recipe = "plan-dynamic{min_values=512},plan-weights{min_values=64}"
    _, ctx = run(LAYERS, recipe)
    assert ctx.plan.nodes["mm"].kernel != STORED
    assert "conv" not in ctx.plan.nodes
    assert [(d.node, "fewer than 64" in d.reason) for d in ctx.journal.declines] == [("conv", True)]


def test_blocks_have_sizes_that_kernels_know() -> None:
    with pytest.raises(OptionError, match="blocks of 48"):
        PlanWeights(block=48)
