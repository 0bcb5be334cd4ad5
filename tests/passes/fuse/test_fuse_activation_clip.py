# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import pytest

from onnxq.passes.fuse.fuse_activation_clip import FuseActivationClip
from tests.passes.golden import check

PASS = FuseActivationClip()
C = """<float nil = {0}, float six = {6}, float one = {1}, float neg = {-1}, float[1] zero1 = {0},
        float top = {3.4028235e38}, float far = {9}>"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("y = Max(x, nil)", "y = Relu(x)"),
        ("y = Max(nil, x)", "y = Relu(x)"),
        ("y = Max(x, zero1)", "y = Relu(x)"),
        ("y = Clip(x, nil)", "y = Relu(x)"),
        ("y = Clip(x, nil, top)", "y = Relu(x)"),
        ("y = Min(x, six)", "y = Clip(x, , six)"),
        ("y = Max(x, neg)", "y = Clip(x, neg)"),
        ("a = Relu(x)  y = Clip(a, , six)", "y = Clip(x, nil, six)"),
        ("a = Relu(x)  y = Clip(a, nil, six)", "y = Clip(x, nil, six)"),
        ("a = Relu(x)  y = Min(a, six)", "y = Clip(x, nil, six)"),
        ("a = Min(six, x)  y = Max(a, nil)", "y = Clip(x, nil, six)"),
        ("a = Min(x, six)  y = Relu(a)", "y = Clip(x, nil, six)"),
        ("a = Relu(x)  y = Relu(a)", "y = Relu(x)"),
        ("a = Clip(x, one, six)  y = Clip(a, neg, nil)", "y = Clip(x, nil, nil)"),
        ("a = Clip(x, neg, far)  b = Clip(a, nil, six)  y = Max(b, one)", "y = Clip(x, one, six)"),
        ("a = Neg(x)  b = Clip(a)  y = Abs(b)", "a = Neg(x)  y = Abs(a)"),
    ],
)
def test_match(before: str, after: str) -> None:
    head = f"g (float[2,8] x) => (float[2,8] y) {C}"
    check(PASS, f"{head} {{ {before} }}", f"{head} {{ {after} }}")


def test_attributes_before_opset_11() -> None:
    check(
        PASS,
        f"g (float[2,8] x) => (float[2,8] y) {C} {{ a = Relu(x)  y = Clip<max = 6.0>(a) }}",
        "g (float[2,8] x) => (float[2,8] y) { y = Clip<min = 0.0, max = 6.0>(x) }",
        opset=8,
    )


def test_half_precision_bounds() -> None:
    check(
        PASS,
        """g (float16[2,8] x) => (float16[2,8] y) <float16 six>
        { a = Relu(x)  y = Min(a, six) }""",
        """g (float16[2,8] x) => (float16[2,8] y) <float16 nil, float16 six>
        { y = Clip(x, nil, six) }""",
    )


@pytest.mark.parametrize(
    "body",
    [
        "y = Relu(x)",
        "y = Clip(x, nil, six)",
        "y = Clip(x, neg)",
        "a = Neg(x)  y = Max(a, x)",
        "y = Max(x, nil, one)",
        "a = Relu(x)  b = Neg(a)  y = Relu(b)",
    ],
)
def test_kept(body: str) -> None:
    check(PASS, f"g (float[2,8] x) => (float[2,8] y) {C} {{ {body} }}")


def test_declines() -> None:
    check(
        PASS,
        f"""g (float[2,8] x, float s) => (float[2,8] a, float[2,8] y, float[2,8] z, float[1,2,8] w)
        {C.replace(">", ", float[1,1,1] deep = {2}>")}
        {{ [relu] a = Relu(x)  [two] y = Clip(a, nil, six)  [computed] z = Clip(x, s)  [deep] w = Max(x, deep) }}""",
        declines=[
            ("two", "'a' between 'relu' and it is an output of the graph"),
            ("computed", "a bound of it is computed"),
            ("deep", "its number 'deep' may widen 'x'"),
        ],
    )


def test_reversed_bounds_decline() -> None:
    check(
        PASS,
        f"g (float[2,8] x) => (float[2,8] y) {C} {{ [c] y = Clip(x, six, one) }}",
        declines=[("c", "its low end is above its high one")],
    )


def test_not_across_a_branch() -> None:
    check(
        PASS,
        """g (float[2] x, bool p) => (float[2] y) <float nil = {0}>
        { a = Relu(x)
          y = If(p) < then_branch = t () => (float[2] u) { u = Relu(a) },
                      else_branch = e () => (float[2] v) { b = Max(x, nil)  v = Relu(b) } > }""",
        """g (float[2] x, bool p) => (float[2] y)
        { a = Relu(x)
          y = If(p) < then_branch = t () => (float[2] u) { u = Relu(a) },
                      else_branch = e () => (float[2] v) { v = Relu(x) } > }""",
    )


def test_integers_are_no_candidates() -> None:
    check(
        PASS,
        """g (int32[4] x) => (int32[4] y, int32[4] z) <int32 low = {0}, int32 high = {6}>
        { a = Clip(x, low)  y = Clip(a, low, high)  z = Max(x, low) }""",
    )
