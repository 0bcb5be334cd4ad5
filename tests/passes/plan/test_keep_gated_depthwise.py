"""Golden test of keep-gated-depthwise."""

from __future__ import annotations

import pytest

from tests.passes.stages import run

BLOCK = """g (float[1,3,8,8] x) => (float[1,8,8,8] y)
    <float[8,3,3,3] w, float[8,1,3,3] d, float[8,8,1,1] v>
    { [first] a = Conv <pads = [1,1,1,1]> (x, w)  [s1] p = Sigmoid (a)  [gate1] b = Mul (a, p)
      [dw] c = Conv <group = 8, pads = [1,1,1,1]> (b, d)
      [s2] q = Sigmoid (c)  [gate2] e = Mul (c, q)  [last] y = Conv (e, v) }"""
RECIPE = "plan-kernels,keep-gated-depthwise"


def test_between_gates_it_stays_float_and_so_do_the_gates() -> None:
    _, ctx = run(BLOCK, f"{RECIPE}{{percent=30}}")
    assert list(ctx.plan.nodes) == ["first", "last"]
    assert "depthwise convolution beside a gate" in ctx.plan.kept_float["dw"]
    assert {"s1", "gate1", "s2", "gate2"} <= ctx.plan.kept_float.keys()


def test_more_work_than_that_declines() -> None:
    _, ctx = run(BLOCK, f"{RECIPE}{{percent=10}}")
    assert {"first", "gate1", "dw", "gate2", "last"} <= ctx.plan.nodes.keys()
    assert [d.node for d in ctx.journal.declines] == ["dw"]
    assert "more than 10 % of the work" in ctx.journal.declines[0].reason


def test_the_least_work_comes_first() -> None:
    text = BLOCK.replace("float[1,8,8,8] y", "float[1,8,4,4] y").replace(
        "[last] y = Conv (e, v)",
        "[dw2] h = Conv <group = 8, pads = [1,1,1,1], strides = [2,2]> (e, d)  "
        "[last] y = Conv (h, v)",
    )
    _, ctx = run(text, f"{RECIPE}{{percent=10}}")
    assert "dw2" in ctx.plan.kept_float
    assert [d.node for d in ctx.journal.declines] == ["dw"]


def test_behind_relu_it_is_no_candidate() -> None:
    text = BLOCK.replace(
        "[s1] p = Sigmoid (a)  [gate1] b = Mul (a, p)", "[relu1] b = Relu (a)"
    ).replace("[s2] q = Sigmoid (c)  [gate2] e = Mul (c, q)", "[relu2] e = Relu (c)")
    _, ctx = run(text, f"{RECIPE}{{percent=90}}")
    assert {"first", "dw", "last"} <= ctx.plan.nodes.keys()
    assert not ctx.plan.excluded and not ctx.journal.declines


def test_neither_is_a_dense_layer_between_gates() -> None:
    text = BLOCK.replace("float[8,1,3,3] d", "float[8,8,3,3] d").replace("group = 8, ", "")
    _, ctx = run(text, f"{RECIPE}{{percent=90}}")
    assert "dw" in ctx.plan.nodes and not ctx.plan.excluded


@pytest.mark.parametrize("gate", ["hard-sigmoid", "sum-and-clip", "with-a-factor"])
def test_other_gates(gate: str) -> None:
    between = {
        "hard-sigmoid": "[s1] p = HardSigmoid (a)  [gate1] b = Mul (a, p)",
        "sum-and-clip": "[s1] r = Add (a, three)  [clip] p = Clip (r, zero, six)  "
        "[gate1] b = Mul (a, p)",
        "with-a-factor": "[s1] p = Sigmoid (a)  [m] m = Mul (a, p)  [gate1] b = Mul (m, six)",
    }[gate]
    text = BLOCK.replace("[s1] p = Sigmoid (a)  [gate1] b = Mul (a, p)", between).replace(
        "float[8,8,1,1] v>",
        "float[8,8,1,1] v, float three = {3}, float zero = {0}, float six = {6}>",
    )
    text = text.replace("[s2] q = Sigmoid (c)  [gate2] e = Mul (c, q)", "[relu2] e = Relu (c)")
    _, ctx = run(text, f"{RECIPE}{{percent=30}}")
    assert "beside a gate" in ctx.plan.kept_float["dw"]


def test_a_product_of_two_layers_is_no_gate() -> None:
    text = BLOCK.replace(
        "[s1] p = Sigmoid (a)  [gate1] b = Mul (a, p)",
        "[other] p = Conv <pads = [1,1,1,1]> (x, w)  [gate1] b = Mul (a, p)",
    ).replace("[s2] q = Sigmoid (c)  [gate2] e = Mul (c, q)", "[relu2] e = Relu (c)")
    _, ctx = run(text, f"{RECIPE}{{percent=90}}")
    assert "dw" in ctx.plan.nodes
