# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import numpy as np

from onnxq.passes.emit.store_float16 import StoreFloat16
from tests.passes.golden import check, context

LAYERS = """g (float[2,8] x) => (float[2,8] y)
    <float[8,8] w, float[8,8] v, float[8] b, float s = {0.1}, uint8 z = {9}>
    { [one] a = MatMul (x, w)  q = QuantizeLinear (a, s, z)  d = DequantizeLinear (q, s, z)
      [two] c = MatMul (d, v)  [add] y = Add (c, b) }"""


def test_constants_are_widened_behind_a_cast() -> None:
    check(
        StoreFloat16(),
        LAYERS,
        """g (float[2,8] x) => (float[2,8] y)
        <float16[8,8] w, float16[8,8] v, float[8] b, float s, uint8 z>
        { e = Cast <to = 1> (w)  a = MatMul (x, e)  q = QuantizeLinear (a, s, z)
          d = DequantizeLinear (q, s, z)  f = Cast <to = 1> (v)  c = MatMul (d, f)  y = Add (c, b) }""",
        tolerance=0.1,
    )


def test_what_float16_cannot_hold_stays() -> None:
    w = np.ones((8, 8), np.float32)
    w[0, 0] = 1e5
    check(
        StoreFloat16(),
        LAYERS,
        None,
        weights={"w": w, "v": np.full((8, 8), 1.234e-7, np.float32)},
        declines=[("w", "a value of 1e+05 is beyond float16"), ("v", "lose digits in float16")],
    )


def test_scales_of_codes_and_small_constants_stay() -> None:
    ctx = context()
    text = """g (float[2,80] x) => (float[2,80] y) <float[80] s, uint8[80] z, float b = {2}>
        { q = QuantizeLinear <axis = 1> (x, s, z)  d = DequantizeLinear <axis = 1> (q, s, z)
          y = Mul (d, b) }"""
    check(StoreFloat16(), text, None, ctx=ctx, weights={"s": np.ones(80, np.float32)})
