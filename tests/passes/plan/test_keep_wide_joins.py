from __future__ import annotations

import numpy as np

from tests.passes.stages import run

HEAD = """g (float[1,3,4,4] x) => (float[1,4,4,4] y)
    <float[2,3,1,1] boxes, float[2,3,1,1] scores, float[4,4,1,1] last>
    {{ [box] a = Conv (x, boxes)  [score] b = Conv (x, scores)  [sig] s = Sigmoid (b)
      [join] c = Concat <axis = 1> (a, s)  [move] t = Transpose <perm = [0, 1, 3, 2]> (c)
      {} }}"""
RNG = np.random.default_rng(1)
WEIGHTS = {
    "boxes": (RNG.normal(size=(2, 3, 1, 1)) * 300).astype(np.float32),
    "scores": RNG.normal(size=(2, 3, 1, 1)).astype(np.float32),
    "last": RNG.normal(size=(4, 4, 1, 1)).astype(np.float32),
}
LAST = "[last] y = Conv (t, last)"


def test_boxes_and_scores_stay_float() -> None:
    _, ctx = run(HEAD.format(LAST), "plan-kernels,keep-wide-joins", weights=WEIGHTS)
    assert list(ctx.plan.nodes) == ["box", "score", "last"] or "join" not in ctx.plan.nodes
    assert "differ in range" in ctx.plan.kept_float["join"]
    assert "sig" in ctx.plan.kept_float, "it led only there"


def test_ratio() -> None:
    recipe = "plan-kernels,keep-wide-joins{ratio=100000}"
    _, ctx = run(HEAD.format(LAST), recipe, weights=WEIGHTS)
    assert {"sig", "join", "move"} <= ctx.plan.nodes.keys()


def test_declines_where_only_integer_layers_read_the_join() -> None:
    text = HEAD.replace("(t, last)", "").format("[last] y = Conv (c, last)")
    text = text.replace("[move] t = Transpose <perm = [0, 1, 3, 2]> (c)", "")
    _, ctx = run(text, "plan-kernels,keep-wide-joins", weights=WEIGHTS)
    assert "join" in ctx.plan.nodes
    assert [d.node for d in ctx.journal.declines] == ["join"]
    assert "only integer layers read it" in ctx.journal.declines[0].reason


def test_joins_of_like_ranges_stay_integer() -> None:
    like = WEIGHTS | {"boxes": WEIGHTS["scores"]}
    _, ctx = run(HEAD.format(LAST), "plan-kernels,keep-wide-joins", weights=like)
    assert "join" in ctx.plan.nodes
    assert not ctx.plan.excluded
