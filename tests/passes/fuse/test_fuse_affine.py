# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.fuse.fuse_affine import FuseAffine
from tests.passes.golden import check

PASS = FuseAffine()


@pytest.mark.parametrize("c", ["4,1,1", "1,4,1,1", "", "1"])
@pytest.mark.parametrize("form", ["Mul(t, c)", "Mul(c, t)", "Div(t, c)"])
def test_factor_behind_a_conv(c: str, form: str) -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,3,3] w, float[{c}] c>
        {{ t = Conv<pads=[1,1,1,1]>(x, w)  y = {form} }}""".replace("float[]", "float"),
        """g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,3,3] w>
        { y = Conv<pads=[1,1,1,1]>(x, w) }""",
    )


@pytest.mark.parametrize("form", ["Add(t, c)", "Add(c, t)", "Sub(t, c)", "Sub(c, t)"])
@pytest.mark.parametrize("bias", ["", ", b"])
def test_shift_behind_a_conv(form: str, bias: str) -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,3,3] w, float[4] b, float[4,1,1] c>
        {{ t = Conv<pads=[1,1,1,1]>(x, w{bias})  y = {form} }}""",
        """g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,3,3] w, float[4] b>
        { y = Conv<pads=[1,1,1,1]>(x, w, b) }""",
    )


def test_a_chain_folds_whole() -> None:
    check(
        PASS,
        """g (float[1,6,8,8] x) => (float[1,4,10,10] y)
        <float[6,2,3,3] w, float[4] b, float[4,1,1] c, float[1,4,1,1] d, float e>
        { t = ConvTranspose<group=2>(x, w, b)  u = Mul(t, c)  v = Add(u, d)  y = Div(v, e) }""",
        """g (float[1,6,8,8] x) => (float[1,4,10,10] y) <float[6,2,3,3] w, float[4] b>
        { y = ConvTranspose<group=2>(x, w, b) }""",
    )


def test_gemm_and_matmul() -> None:
    check(
        PASS,
        """g (float[2,3] x) => (float[2,4] y, float[1,2,4] z) <float[3,4] w, float[4] b, float[4] c, float[3,4] k, float[4] d>
        { t = Gemm<alpha=0.5, beta=2.0>(x, w, b)  u = Sub(c, t)  y = Mul(u, c)
          p = MatMul(x, k)  q = Mul(p, c)  r = Add(q, d)  i = Relu(r)  a = MatMul(i, k2)  s = Mul(a, d)  z = Reshape(s, shape) }""".replace(
            "float[4] d>", "float[4] d, float[4,4] k2, int64[3] shape = {1,2,4}>"
        ),
        """g (float[2,3] x) => (float[2,4] y, float[1,2,4] z) <float[3,4] w, float[4] b, float[3,4] k, float[4] d, float[4,4] k2, int64[3] shape>
        { y = Gemm<alpha=0.5>(x, w, b)
          p = MatMul(x, k)  r = Add(p, d)  i = Relu(r)  a = MatMul(i, k2)  z = Reshape(a, shape) }""",
    )  # fmt: skip


def test_matmul_of_any_rank() -> None:
    check(
        PASS,
        """g (float[2,5,3] x) => (float[2,5,4] y) <float[3,4] w, float[1,1,4] c>
        { t = MatMul(x, w)  y = Mul(t, c) }""",
        "g (float[2,5,3] x) => (float[2,5,4] y) <float[3,4] w> { y = MatMul(x, w) }",
    )


def test_shift_before_a_matmul_of_higher_rank() -> None:
    check(
        PASS,
        """g (float[2,5,3] x) => (float[2,5,4] y) <float[3,4] w, float[3] c>
        { t = Sub(x, c)  y = MatMul(t, w) }""",
        """g (float[2,5,3] x) => (float[2,5,4] y) <float[3,4] w, float[4] b>
        { t = MatMul(x, w)  y = Add(t, b) }""",
    )


@pytest.mark.parametrize("form", ["Mul(x, c)", "Div(x, c)", "Add(x, c)", "Sub(c, x)"])
@pytest.mark.parametrize("attrs", ["", "<group=2>"])
def test_before_an_unpadded_conv(form: str, attrs: str) -> None:
    shape = "6,2,3,3" if attrs else "6,4,3,3"
    bias = ", b" if form.startswith(("Add", "Sub")) else ""
    check(
        PASS,
        f"""g (float[1,4,8,8] x) => (float[1,6,6,6] y) <float[{shape}] w, float[4,1,1] c>
        {{ t = {form}  y = Conv{attrs}(t, w) }}""",
        f"""g (float[1,4,8,8] x) => (float[1,6,6,6] y) <float[{shape}] w, float[6] b>
        {{ y = Conv{attrs}(x, w{bias}) }}""",
    )


def test_before_matrices() -> None:
    check(
        PASS,
        """g (float[2,3] x) => (float[3,4] y, float[2,5] z) <float[2,4] w, float[2,1] c, float[3,5] k, float[3] d>
        { t = Mul(x, c)  y = Gemm<transA=1>(t, w)  u = Add(x, d)  z = MatMul(u, k) }""",
        """g (float[2,3] x) => (float[3,4] y, float[2,5] z) <float[2,4] w, float[3,5] k, float[5] d>
        { y = Gemm<transA=1>(x, w)  z = Gemm(x, k, d) }""",
    )  # fmt: skip


def test_factor_before_a_padded_conv_and_a_transposed_one() -> None:
    check(
        PASS,
        """g (float[1,4,8,8] x) => (float[1,6,8,8] y, float[1,2,10,10] z) <float[6,4,3,3] w, float c, float[4,2,3,3] k>
        { t = Mul(x, c)  y = Conv<pads=[1,1,1,1]>(t, w)  u = Mul(x, c)  z = ConvTranspose(u, k) }""",
        """g (float[1,4,8,8] x) => (float[1,6,8,8] y, float[1,2,10,10] z) <float[6,4,3,3] w, float[4,2,3,3] k>
        { y = Conv<pads=[1,1,1,1]>(x, w)  z = ConvTranspose(x, k) }""",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "constant", "reason"),
    [
        ("t = Conv(x, w)  [n] y = Mul(t, c)", "1,1,1,6", "does not vary along the output channels"),
        ("t = Conv(x, w)  [n] y = Mul(t, c)", "2,1,1,1", "does not vary along the output channels"),
        ("[n] t = Add(x, c)  y = Conv<pads=[1,1,1,1]>(t, w)", "4,1,1", "pads with zeros"),
        ("[n] t = Mul(x, c)  y = Conv(t, w)", "1,1,8,1", "does not vary along the input channels"),
    ],
)
def test_declines(body: str, constant: str, reason: str) -> None:
    check(
        PASS,
        f"""g (float[1,4,8,8] x) => (float[A,B,C,D] y) <float[6,4,3,3] w, float[{constant}] c>
        {{ {body} }}""",
        declines=[("n", reason)],
    )


def test_constant_that_widens_declines() -> None:
    check(
        PASS,
        """g (float[1,1,8,8] x) => (float[1,6,6,6] y) <float[6,4,3,3] w, float[4,1,1] c>
        { [n] t = Mul(x, c)  y = Conv(t, w) }""",
        declines=[("n", "its constant widens 'x'")],
    )


def test_visible_or_shared_tensors_decline() -> None:
    check(
        PASS,
        """g (float[1,4,8,8] x) => (float[1,6,6,6] t, float[1,6,6,6] y, float[1,4,8,8] u, float[1,6,6,6] z)
        <float[6,4,3,3] w, float c>
        { [conv] t = Conv(x, w)  [n] y = Mul(t, c)  [m] u = Add(x, c)  [below] z = Conv(u, w) }""",
        declines=[
            ("n", "'t' between 'conv' and it is an output of the graph"),
            ("m", "'u' between it and 'below' is an output of the graph"),
        ],
    )


def test_computed_weight_declines() -> None:
    check(
        PASS,
        """g (float[1,4,8,8] x, float[6,4,3,3] w) => (float[1,6,6,6] y) <float c>
        { [conv] t = Conv(x, w)  [n] y = Mul(t, c) }""",
        declines=[("n", "'conv' before it: its weight 'w' is computed")],
    )


def test_no_candidates() -> None:
    check(
        PASS,
        """g (float[1,4,8,8] x) => (float[1,6,6,6] y, float[1,4,8,8] z) <float[6,4,3,3] w, float c, float[4] d>
        { a = Mul(x, x)  b = Relu(a)  t = Conv(b, w)  y = Div(c, t)  z = Add(x, c) }""",
    )  # fmt: skip


def test_shared_weight_is_copied() -> None:
    w = np.arange(1, 7, dtype=np.float32).reshape(6, 1, 1, 1)
    check(
        PASS,
        """g (float[1,1,2,2] x) => (float[1,6,2,2] y, float[1,6,2,2] z) <float[6,1,1,1] w, float c = {2}>
        { t = Conv(x, w)  y = Mul(t, c)  z = Conv(x, w) }""",
        """g (float[1,1,2,2] x) => (float[1,6,2,2] y, float[1,6,2,2] z) <float[6,1,1,1] v, float[6,1,1,1] w>
        { y = Conv(x, v)  z = Conv(x, w) }""",
        weights={"w": w},
        expected={"v": 2 * w, "w": w},
    )  # fmt: skip


def test_half_precision() -> None:
    check(
        PASS,
        """g (float16[1,3,8,8] x) => (float16[1,4,6,6] y) <float16[4,3,3,3] w, float16 c, float16[4,1,1] d>
        { t = Conv(x, w)  u = Mul(t, c)  y = Add(u, d) }""",
        """g (float16[1,3,8,8] x) => (float16[1,4,6,6] y) <float16[4,3,3,3] w, float16[4] b>
        { y = Conv(x, w, b) }""",
        tolerance=2e-3,
    )  # fmt: skip
