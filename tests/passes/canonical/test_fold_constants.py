# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import OptionError
from onnxq.passes.canonical.fold_constants import FoldConstants
from tests.passes.golden import check, context

PASS = FoldConstants()


def test_chain_on_a_weight() -> None:
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    check(
        PASS,
        """g (float[4,3] x) => (float[4,2] y) <float[2,3] w, float two = {2}>
        { t = Transpose(w)  m = Mul(t, two)  y = MatMul(x, m) }""",
        "g (float[4,3] x) => (float[4,2] y) <float[3,2] m> { y = MatMul(x, m) }",
        weights={"w": w},
        expected={"m": w.T * 2},
    )


def test_reshape_of_a_weight() -> None:
    check(
        PASS,
        """g (float[1,6] x) => (float[1,2] y) <float[2,3,2] w, int64[2] s = {6, 2}>
        { r = Reshape(w, s)  y = MatMul(x, r) }""",
        "g (float[1,6] x) => (float[1,2] y) <float[6,2] r> { y = MatMul(x, r) }",
    )


def test_stated_dimensions() -> None:
    check(
        PASS,
        """g (float[2,3] x, float[6] z) => (float[3,2] y, int64 n)
        <int64 i = {1}, int64[1] axis = {0}, int64[1] rest = {-1}>
        { s = Shape(x)  d = Gather(s, i)  u = Unsqueeze(d, axis)  c = Concat<axis = 0>(u, rest)
          y = Reshape(z, c)  [size] n = Size(x) }""",
        """g (float[2,3] x, float[6] z) => (float[3,2] y, int64 n) <int64[2] c = {3, -1}>
        { y = Reshape(z, c)  n = Size(x) }""",
        declines=[("size", "its value 'n' is an output of a graph")],
    )


def test_shapes_stated_in_the_middle_are_not_believed() -> None:
    check(
        PASS,
        """g (float[N,3] x) => (int64[2] y) <float[1,3] a> { a = Relu(x)  s = Shape(a)  y = Neg(s) }""",
        ctx=context(),
    )


def test_free_dimensions_stay_and_known_ones_fold() -> None:
    check(
        PASS,
        """g (float[N,3] x) => (int64 a, int64 b) <int64 zero = {0}, int64 one = {1}>
        { s = Shape(x)  n = Gather(s, zero)  a = Neg(n)  m = Gather(s, one)  [b] b = Add(m, n) }""",
        """g (float[N,3] x) => (int64 a, int64 b) <int64 zero = {0}, int64 m = {3}>
        { s = Shape(x)  n = Gather(s, zero)  a = Neg(n)  b = Add(m, n) }""",
    )


def test_inside_a_branch_with_a_captured_constant() -> None:
    check(
        PASS,
        """g (float[2] x, bool p) => (float[2] y) <float[2] w>
        { y = If(p) < then_branch = t () => (float[2] u) { n = Neg(w)  u = Add(x, n) },
                      else_branch = e () => (float[2] v) { v = Add(x, w) } > }""",
        """g (float[2] x, bool p) => (float[2] y) <float[2] w, float[2] n>
        { y = If(p) < then_branch = t () => (float[2] u) { u = Add(x, n) },
                      else_branch = e () => (float[2] v) { v = Add(x, w) } > }""",
    )


def test_several_outputs() -> None:
    check(
        PASS,
        """g (float[2] x) => (float[2] y) <float[4] w = {1,2,3,4}>
        { a, b = Split(w)  c = Add(x, a)  y = Mul(c, b) }""",
        """g (float[2] x) => (float[2] y) <float[2] a = {1,2}, float[2] b = {3,4}>
        { c = Add(x, a)  y = Mul(c, b) }""",
    )


def test_growth_declines() -> None:
    text = """g (float[1] x) => (float[A] y) <int64[1] n = {1000000}>
        { [big] z = ConstantOfShape(n)  y = Add(x, z) }"""
    check(FoldConstants(max_growth_mb=1), text, declines=[("big", "try a larger max_growth_mb")])
    check(PASS, text, "g (float[1] x) => (float[A] y) <float[1000000] z> { y = Add(x, z) }")


def test_huge_results_are_never_computed() -> None:
    check(
        PASS,
        """g (float[1] x) => (float[A,B] y) <int64[2] n = {1000000, 1000000}>
        { [big] z = ConstantOfShape(n)  y = Add(x, z) }""",
        declines=[("big", "4,000,000,000,000 bytes")],
        run=False,
    )


def test_random_and_quantized_are_no_candidates() -> None:
    check(
        PASS,
        """g (float[2] x) => (float[2] y) <int8[2] q = {1, 2}, float s = {0.5}, float[2] l>
        { d = DequantizeLinear(q, s)  r = RandomNormalLike(l)  a = Mul(r, x)  b = Sub(a, a)  y = Add(b, d) }""",
    )  # fmt: skip


def test_bad_option() -> None:
    with pytest.raises(OptionError, match="max_growth_mb"):
        FoldConstants(max_growth_mb=-1)
