# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import pytest

from onnxq.passes.plan.lift_fake_quantization import LiftFakeQuantization
from onnxq.pipeline.trained import TrainedGrid
from tests.passes.golden import apply, check, context, parse

PAIRS = """g (float[1,3,4,4] x) => (float[1,3,4,4] y)
    <float[3,3,1,1] w, float s = {0.5}, uint8 z = {4}, uint8 low = {0}, uint8 high = {15}, float[1] t = {0.25}, int8[1] u = {0}>
    { q = QuantizeLinear (x, s, z)  k = Clip (q, low, high)  d = DequantizeLinear (k, s, z)
      [conv] a = Conv (d, w)  r = QuantizeLinear (a, t, u)  y = DequantizeLinear (r, t, u) }"""


def test_pairs_are_lifted_and_an_output_keeps_its_name() -> None:
    ctx = context()
    check(
        LiftFakeQuantization(),
        PAIRS,
        """g (float[1,3,4,4] x) => (float[1,3,4,4] y) <float[3,3,1,1] w>
        { [conv] y = Conv (x, w) }""",
        ctx=ctx,
        run=False,
    )
    assert ctx.trained.activations == {
        "x": TrainedGrid(0.5, 4, 0, 15),
        "y": TrainedGrid(0.25, 0, -128, 127),
    }


def test_grids_for_each_channel_stay_and_layers_beside_them_are_left_out() -> None:
    ctx = context()
    check(
        LiftFakeQuantization(),
        """g (float[1,3,4,4] x) => (float[1,3,4,4] y)
        <float[3,3,1,1] w, float[3] s = {1, 2, 3}, uint8[3] z = {0, 0, 0}>
        { q = QuantizeLinear <axis = 1> (x, s, z)  [dq] d = DequantizeLinear <axis = 1> (q, s, z)
          [conv] y = Conv (d, w) }""",
        None,
        ctx=ctx,
        declines=[("dq", "a grid for each channel")],
    )
    assert ctx.plan.excluded["conv"] == "training rounded 'd' to a grid for each channel"


def test_a_second_grid_of_one_tensor_stays_behind_the_first() -> None:
    proto = parse(
        """g (float[1,4] x) => (float[1,4] y, float[1,4] p)
        <float s = {0.5}, float t = {0.25}, uint8 z = {0}, float[4,4] w>
        { q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  [one] y = MatMul (d, w)
          r = QuantizeLinear (x, t, z)  e = DequantizeLinear (r, t, z)  [two] p = MatMul (e, w) }"""
    )
    model, ctx = apply(LiftFakeQuantization(), proto)
    assert [n.op_type for n in model.graph.node].count("DequantizeLinear") == 1
    assert {n: g.scale for n, g in ctx.trained.activations.items()} == {"x": 0.5, "e": 0.25}
    assert "two grids" in ctx.journal.warnings[0]


def test_signed_and_unsigned_codes_of_the_same_values_are_one_grid() -> None:
    text = """g (float[1,4] x) => (float[1,4] y, float[1,4] p)
        <float s = {0.5}, uint8 z = {128}, int8 u = {0}, float[4,4] w>
        { q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  [one] y = MatMul (d, w)
          r = QuantizeLinear (x, s, u)  e = DequantizeLinear (r, s, u)  [two] p = MatMul (e, w) }"""
    model, ctx = apply(LiftFakeQuantization(), parse(text))
    assert {n.op_type for n in model.graph.node} == {"MatMul"}
    assert list(ctx.trained.activations) == ["x"] and not ctx.journal.warnings


@pytest.mark.parametrize("reader", ["by 'neg'", "as an output"])
def test_who_read_without_rounding_is_named(reader: str) -> None:
    output = reader.startswith("as")
    text = """g (float[1,4] x) => (float[1,4] y, float[1,4] p) <float s = {0.5}, uint8 z = {0}, float[4,4] w>
        { %s = Abs (x)  q = QuantizeLinear (%s, s, z)  d = DequantizeLinear (q, s, z)
          y = MatMul (d, w)  %s }""" % (
        ("p", "p", "") if output else ("a", "a", "[neg] p = Neg (a)")
    )
    _, ctx = apply(LiftFakeQuantization(), parse(text))
    assert f"read without rounding {reader} in training" in ctx.journal.warnings[0]
