from __future__ import annotations

from tests.passes.stages import run

DETECTOR = """g (float[1,3,8,8] x) => (float[1,64] y, float[1,8,8,8] z)
    <float[8,3,3,3] w, float[8,8,3,3] v, float[1,8,1,1] u, int64[2] shape = {1, 64}>
    { [first] a = Conv <pads = [1,1,1,1]> (x, w)  [relu] r = Relu (a)
      [body] z = Conv <pads = [1,1,1,1]> (r, v)  [head] h = Conv (r, u)
      [flat] f = Reshape (h, shape)  [sig] y = Sigmoid (f) }"""
RECIPE = "plan-kernels,keep-output-layers"


def test_a_cheap_head_stays_float() -> None:
    text = DETECTOR.replace(", float[1,8,8,8] z)", ")").replace(
        "[body] z = Conv <pads = [1,1,1,1]> (r, v)  [head] h = Conv (r, u)",
        "[body] z = Conv <pads = [1,1,1,1]> (r, v)  [head] h = Conv (z, u)",
    )
    _, ctx = run(text, RECIPE)
    assert list(ctx.plan.nodes) == ["first", "body"]
    assert "output layer: 256 codes" in ctx.plan.kept_float["head"]
    assert "(1.0 % of the work)" in ctx.plan.kept_float["head"]
    assert "flat" in ctx.plan.kept_float, "it led only there"


def test_output_layers_that_are_much_of_the_work_decline() -> None:
    _, ctx = run(DETECTOR, RECIPE)
    assert {"first", "body", "head"} <= ctx.plan.nodes.keys()
    assert [d.node for d in ctx.journal.declines] == ["body", "head"]
    assert "of the work: they stay integer" in ctx.journal.declines[0].reason


def test_percent() -> None:
    _, ctx = run(DETECTOR, f"{RECIPE}{{percent=80}}")
    assert list(ctx.plan.nodes) == ["first"]


def test_a_float_result_needs_no_exception() -> None:
    text = """g (float[1,3,8,8] x) => (float[1,2] y)
        <float[8,3,3,3] w, float[8,2] v>
        { [first] a = Conv (x, w)  [gap] p = GlobalAveragePool (a)  [flat] f = Flatten (p)
          [last] y = Gemm (f, v) }"""
    _, ctx = run(text, RECIPE)
    assert "last" in ctx.plan.nodes
    assert not ctx.plan.excluded and not ctx.journal.declines


def test_what_feeds_an_excluded_layer_is_no_output_layer() -> None:
    text = """g (float[1,3,8,8] x) => (float[1,4,8,8] y)
        <float[8,3,3,3] w, float[8,8,1,1] v, float[4,8,1,1] u>
        { [first] a = Conv <pads = [1,1,1,1]> (x, w)  [sig] s = Sigmoid (a)  [mul] m = Mul (a, s)
          [body] b = Conv (m, v)  [head] y = Conv (b, u) }"""
    whole = run(text, f"{RECIPE}{{percent=90}}")[1]
    assert "first" in whole.plan.nodes and "body" in whole.plan.nodes
    passes = f'exclude-nodes{{patterns=["body"]}},{RECIPE}{{percent=90}}'
    _, ctx = run(text, passes)
    assert "first" in ctx.plan.nodes
    assert "output layer" not in ctx.plan.excluded["body"]
