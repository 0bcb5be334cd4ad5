from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnxq.errors import OptionError
from onnxq.passes.emit.store_rest import StoreRest
from onnxq.pipeline import Context
from tests.passes.golden import check, context

GRU = """g (float[5,2,8] x) => (float[5,1,2,8] y) <float[1,24,8] w, float[1,24,8] r, float[1,48] b>
    { [gru] y = GRU <hidden_size = 8> (x, w, r, b) }"""


def cpu() -> Context:
    ctx = context()
    ctx.target = replace(ctx.target, folds_casts=True)
    ctx.plan.keep_float("gru", "no integer kernel")
    return ctx


def test_weights_become_bytes_and_biases_stay() -> None:
    ctx = cpu()
    check(
        StoreRest(min_values=192),
        GRU,
        """g (float[5,2,8] x) => (float[5,1,2,8] y)
        <int8[1,24,8] w, int8[1,24,8] r, float[1,24,1] s, float[1,24,1] t, float[1,48] b>
        { c = Cast <to = 1> (w)  v = Mul (c, s)  d = Cast <to = 1> (r)  u = Mul (d, t)
          y = GRU <hidden_size = 8> (x, v, u, b) }""",
        ctx=ctx,
        tolerance=0.03,
    )
    assert ctx.plan.kept_float["gru"] == "no integer kernel; its weights are stored as int8"


TABLE = """g (int64[5] i) => (float[5,64] y) <float[256,64] t> { [look] y = Gather (t, i) }"""


def test_a_table_of_words_becomes_bytes_and_a_small_one_stays() -> None:
    after = """g (int64[5] i) => (float[5,64] y) <int8[256,64] t, float[256,1] s>
        { c = Cast <to = 1> (t)  v = Mul (c, s)  y = Gather (v, i) }"""
    check(StoreRest(), TABLE, after, ctx=cpu(), tolerance=0.03)
    small = TABLE.replace("256", "255")
    check(StoreRest(), small, None, ctx=cpu(), declines=[("look", "'t' has fewer than 16384")])


def test_what_stays() -> None:
    check(StoreRest(min_values=193), GRU, None, ctx=cpu(),
          declines=[("gru", "'w' has fewer"), ("gru", "'r' has fewer")])  # fmt: skip
    check(StoreRest(min_values=1), GRU, None, ctx=context(), declines=[("gru", "as floats")])
    excluded = cpu()
    excluded.plan.excluded["gru"] = "excluded by 'gru'"
    check(StoreRest(min_values=1), GRU, None, ctx=excluded)
    w = np.full((1, 24, 8), np.nan, np.float32)
    check(StoreRest(min_values=1, ops=("LSTM",)), GRU, None, ctx=cpu(), weights={"w": w}, run=False)
    with pytest.raises(OptionError, match="Relu keeps no weights"):
        StoreRest(ops=("Relu",))
