# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.canonical.read_fake_quantization import ReadFakeQuantization
from onnxq.passes.canonical.remove_unused import RemoveUnused
from tests.passes.golden import apply, parse, same_graph


def check(before: str, after: str) -> None:
    model, _ = apply(ReadFakeQuantization(), parse(before))
    kept, _ = apply(RemoveUnused(), model)  # what it leaves behind
    same_graph(kept.graph, parse(after).graph, {})


CHAIN = """g (float[2,3] x) => (float[2,3] y)
    <float s = {{0.1}}, float z = {{3}}, float low = {{0}}, float high = {{{high}}}>
    {{ [a] a = Div (x, s)  [b] b = Add (a, z)  [r] r = Round (b)  {clip}
      [d] d = Sub (c, z)  [y] y = Mul (d, {scale}) }}"""
CLIP = "[c] c = Clip (r, low, high)"


def test_arithmetic_on_an_activation() -> None:
    check(
        CHAIN.format(high=127, clip=CLIP, scale="s"),
        """g (float[2,3] x) => (float[2,3] y)
        <float s, uint8 z, uint8 low, uint8 high>
        { q = QuantizeLinear (x, s, z)  c = Clip (q, low, high)  y = DequantizeLinear (c, s, z) }""",
    )


def test_all_codes_of_a_type_need_no_clip() -> None:
    check(
        CHAIN.format(high=255, clip=CLIP, scale="s"),
        """g (float[2,3] x) => (float[2,3] y) <float s, uint8 z>
        { q = QuantizeLinear (x, s, z)  y = DequantizeLinear (q, s, z) }""",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CHAIN.format(high=7, clip="[c] c = Identity (r)", scale="s"), "no scale and its inverse"),
        (CHAIN.format(high=7, clip=CLIP, scale="z"), "no scale and its inverse"),
        (
            """g (float[2,3] x) => (float[2,3] y) <float low = {0}, float high = {255}>
            { [r] r = Round (x)  [y] y = Clip (r, low, high) }""",
            "no scale and its inverse",
        ),
        (
            """g (float[2,3] x) => (float[2,3] y) <float s = {0.1}>
            { [a] a = Div (x, s)  [r] r = Round (a)  [y] y = Mul (r, s) }""",
            "nothing clamps its codes",
        ),
        (
            """g (float[2,3] x) => (float[2,3] y) <float s = {0.1}, float t = {0.2}, uint8 z = {0}>
            { q = QuantizeLinear (x, s, z)  [y] y = DequantizeLinear (q, t, z) }""",
            "another than that of",
        ),
    ],
)
def test_declines(text: str, reason: str) -> None:
    proto = parse(text)
    model, ctx = apply(ReadFakeQuantization(), proto)
    assert any(reason in d.reason for d in ctx.journal.declines), ctx.journal.declines
    assert not ctx.trained.weights
    same_graph(model.graph, proto.graph, {})


def test_a_weight_keeps_codes_and_scales_where_it_is_moved() -> None:
    text = """g (float[1,4] x) => (float[1,3] y)
        <float[3,4] w, float[3] s = {0.1, 0.2, 0.4}, int8[3] z = {0, 0, 0}>
        { q = QuantizeLinear <axis = 0> (w, s, z)  r = DequantizeLinear <axis = 0> (q, s, z)
          [turn] t = Transpose <perm = [1, 0]> (r)  [mm] y = MatMul (x, t) }"""
    w = np.random.default_rng(0).normal(0, 4, (3, 4)).astype(np.float32)
    _, ctx = apply(ReadFakeQuantization(), parse(text, {"w": w}))
    found = ctx.trained.weights["mm", 1]
    steps = np.clip(np.rint(w / np.array([[0.1], [0.2], [0.4]], np.float32)), -128, 127)
    np.testing.assert_array_equal(found.steps, steps.T.astype(int))
    np.testing.assert_allclose(found.scale, np.broadcast_to([0.1, 0.2, 0.4], (4, 3)), rtol=1e-6)


def test_integer_weights_with_zero_points() -> None:
    text = """g (float[1,2] x) => (float[1,2] y)
        <uint8[2,2] w = {0, 15, 7, 8}, float s = {0.5}, uint8 z = {7}>
        { r = DequantizeLinear (w, s, z)  [mm] y = MatMul (x, r) }"""
    _, ctx = apply(ReadFakeQuantization(), parse(text))
    np.testing.assert_array_equal(ctx.trained.weights["mm", 1].steps, [[-7, 8], [0, 1]])


def test_what_no_kernel_reads_stays_and_is_noted() -> None:
    wide = CHAIN.format(high=4095, clip=CLIP, scale="s")
    proto = parse(wide)
    model, ctx = apply(ReadFakeQuantization(), proto)
    same_graph(model.graph, proto.graph, {})
    assert ctx.trained.apart == dict.fromkeys(("x", "y"), "a grid of 4096 codes")
