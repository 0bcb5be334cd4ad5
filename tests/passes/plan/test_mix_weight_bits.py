from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import OptionError
from onnxq.passes.plan.mix_weight_bits import MixWeightBits
from onnxq.pipeline import Context, PassManager, Recipe
from onnxq.quant import QuantSpec
from onnxq.targets import get_target
from tests.passes.golden import parse
from tests.passes.stages import run

TEXT = """g (float[4,32] x) => (float[4,32] y) <float[32,32] quiet, float[32,32] loud>
    { [one] a = MatMul (x, quiet)  [two] b = MatMul (x, loud)  [add] y = Add (a, b) }"""
RNG = np.random.default_rng(0)
WEIGHTS = {
    "quiet": (RNG.standard_t(2, size=(32, 32)) / 50).astype(np.float32),  # far from even, but small
    "loud": RNG.normal(size=(32, 32)).astype(np.float32),
}
RECIPE = "plan-weights{weights=int4,block=32},mix-weight-bits{percent=%s}"


def widths(ctx: Context) -> dict[str, int]:
    specs = {n: ctx.plan.tensors[n] for n in WEIGHTS}
    return {n: s.dtype.bits for n, s in specs.items() if isinstance(s, QuantSpec)}


def test_what_makes_most_noise_at_the_outputs_gets_more_bits() -> None:
    _, ctx = run(TEXT, RECIPE % 50, weights=WEIGHTS)
    assert widths(ctx) == {"quiet": 4, "loud": 8}
    _, ctx = run(TEXT, RECIPE % 100, weights=WEIGHTS)
    assert widths(ctx) == {"quiet": 8, "loud": 8}
    _, ctx = run(TEXT, RECIPE % 49, weights=WEIGHTS)
    assert widths(ctx) == {"quiet": 4, "loud": 4}, "neither fits"


def test_without_samples_the_noise_of_weights_counts() -> None:
    from onnxq.graph import Model

    ctx = Context(target=get_target("x86"))
    PassManager(Recipe.parse(RECIPE % 50).passes).run(Model.load(parse(TEXT, WEIGHTS)), ctx)
    assert widths(ctx) == {"quiet": 8, "loud": 4}


def test_what_is_wide_already_and_what_is_not_observed_is_left() -> None:
    _, ctx = run(TEXT, RECIPE.replace("int4", "int8") % 100, weights=WEIGHTS)
    assert widths(ctx) == {"quiet": 8, "loud": 8}
    text = """g (float[4,32] x, bool c) => (float[4,32] y) <float[32,32] w>
        { [if] y = If (c) <
            then_branch = left () => (float[4,32] p) { [in] p = MatMul (x, w) },
            else_branch = right () => (float[4,32] q) { [neg] q = Neg (x) }> }"""
    _, ctx = run(text, RECIPE % 100)
    assert [(d.node, d.reason) for d in ctx.journal.declines] == [
        ("in", "tensors of sub-graphs are not observed")
    ]
    with pytest.raises(OptionError, match="percent is 120"):
        MixWeightBits(percent=120)
