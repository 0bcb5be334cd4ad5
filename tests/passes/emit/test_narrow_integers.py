from __future__ import annotations

import numpy as np

from onnxq.passes.emit.narrow_integers import NarrowIntegers
from onnxq.pipeline import Context
from onnxq.targets import get_target
from tests.passes.golden import check

TAKE = """g (float[9,4] x, float[300,4] y) => (float[8,20,4] a, float[160,4] b)
    <int64[8,20] i, int64[160] j>
    { a = Gather (x, i)  b = Gather (y, j) }"""
INDICES = {
    "i": np.arange(160).reshape(8, 20) % 9 - 4,
    "j": np.arange(140, 300),
}


def context(target: str) -> Context:
    return Context(target=get_target(target))


def test_tables_take_the_bytes_that_their_values_need() -> None:
    check(
        NarrowIntegers(),
        TAKE,
        """g (float[9,4] x, float[300,4] y) => (float[8,20,4] a, float[160,4] b)
        <int8[8,20] i, uint16[160] j>
        { k = Cast <to = 7> (i)  a = Gather (x, k)  l = Cast <to = 7> (j)  b = Gather (y, l) }""",
        weights=INDICES,
        ctx=context("x86-vnni"),
        tolerance=0,
    )


def test_small_and_wide_tables_and_other_runtimes_are_left() -> None:
    check(NarrowIntegers(least=2000), TAKE, None, weights=INDICES, ctx=context("x86-vnni"))
    check(NarrowIntegers(), TAKE, None, weights=INDICES, ctx=context("generic"))
    text = "g (int64[80] x) => (int64[80] y) <int64[80] w> { y = Add (x, w) }"
    wide = {"w": np.full(80, 1 << 40)}
    check(NarrowIntegers(), text, None, weights=wide, ctx=context("x86-vnni"))
