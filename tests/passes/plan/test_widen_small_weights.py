"""Few bits for layers that hold the bytes, the target's format for the small ones."""

from __future__ import annotations

import pytest

from onnxq.quant import QuantSpec
from tests.passes.stages import run

TEXT = """g (float[1,3,8,8] x) => (float[1,64,4,4] y)
    <float[4,3,3,3] w, float[4,1,3,3] v, float[64,4,3,3] u>
    { [first] a = Conv (x, w)  [depthwise] b = Conv <group=4, pads=[1,1,1,1]> (a, v)
      [large] y = Conv (b, u) }"""
"""Weights: 108, 36 and 2,304: 4.4, 1.5 and 94.1 percent."""


@pytest.mark.parametrize(
    ("percent", "wide"), [(1, ""), (2, "v"), (5, "v"), (6, "vw"), (100, "vwu")]
)
def test_the_smallest_layers_first(percent: int, wide: str) -> None:
    recipe = f"plan-kernels{{weights=int4}},widen-small-weights{{percent={percent}}}"
    _, ctx = run(TEXT, recipe)
    kinds = {}
    for name in "wvu":
        spec = ctx.plan.tensors[name]
        assert isinstance(spec, QuantSpec)
        kinds[name] = spec.dtype.name
    assert kinds == {n: "int8" if n in wide else "int4" for n in "wvu"}


def test_a_precision_that_was_asked_for_stays() -> None:
    recipe = 'set-precision{layers=["depthwise=4"]},plan-kernels{weights=int4},widen-small-weights'
    _, ctx = run(TEXT, recipe)
    assert ctx.plan.precisions == {"depthwise": "4", "first": "8"}


@pytest.mark.parametrize(
    ("weights", "target"), [("int8", "x86"), ("int16", "x86"), ("int4", "fpga-pow2")]
)
def test_declines(weights: str, target: str) -> None:
    """Nothing is narrower than the target's format, or the hardware's multipliers are."""
    before = run(TEXT, f"plan-kernels{{weights={weights}}}", target=target)[1]
    _, ctx = run(TEXT, f"plan-kernels{{weights={weights}}},widen-small-weights", target=target)
    assert ctx.plan.tensors == before.plan.tensors and not ctx.plan.precisions
