# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

from onnxq.passes.fuse.unshare_weights import UnshareWeights
from tests.passes.golden import check

PASS = UnshareWeights()


def test_one_role_stays_shared() -> None:
    text = """g (float[1,4,8,8] x) => (float[1,4,4,4] y) <float[4,4,3,3] w>
        { a = Conv(x, w)  y = Conv(a, w) }"""
    check(PASS, text)
    check(
        UnshareWeights(every=True),
        text,
        """g (float[1,4,8,8] x) => (float[1,4,4,4] y) <float[4,4,3,3] w, float[4,4,3,3] v>
        { a = Conv(x, w)  y = Conv(a, v) }""",
    )


def test_other_axis_gets_a_copy() -> None:
    check(
        PASS,
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y, float[2,4] z) <float[4,4,3,3] w, float[4,4] m, float[2,4] k>
        { a = Conv(x, w)  y = ConvTranspose(a, w)
          p = MatMul(k2, m)  z = Gemm<transB=1>(p, m) }""".replace("(k2,", "(r,").replace(
            "p = MatMul", "r = Relu(k)  p = MatMul"
        ),
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y, float[2,4] z)
        <float[4,4,3,3] w, float[4,4,3,3] v, float[4,4] m, float[4,4] n, float[2,4] k>
        { a = Conv(x, w)  y = ConvTranspose(a, v)
          r = Relu(k)  p = MatMul(r, m)  z = Gemm<transB=1>(p, n) }""",
    )


def test_every_bias_is_its_own() -> None:
    check(
        PASS,
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y) <float[4,4,1,1] w, float[4,4,1,1] v, float[4] b>
        { a = Conv(x, w, b)  y = Conv(a, v, b) }""",
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y) <float[4,4,1,1] w, float[4,4,1,1] v, float[4] b, float[4] c>
        { a = Conv(x, w, b)  y = Conv(a, v, c) }""",
    )


def test_table_operand_and_bound() -> None:
    check(
        PASS,
        """g (int64[3] i, float[3,4] x) => (float[3,4] y, float[3,5] z, float[3,4] t) <float[5,4] e, float one>
        { g = Gather(e, i)  s = Add(g, one)  y = Clip(s, one)  t = Mul(x, one)  z = Gemm<transB=1>(y, e) }""",
        """g (int64[3] i, float[3,4] x) => (float[3,4] y, float[3,5] z, float[3,4] t)
        <float[5,4] e, float[5,4] f, float one, float low>
        { g = Gather(e, i)  s = Add(g, one)  y = Clip(s, low)  t = Mul(x, one)  z = Gemm<transB=1>(y, f) }""",
        run=False,
    )


def test_integers_stay_shared() -> None:
    check(
        PASS,
        """g (float[2,2] x) => (float[1,4] y, float[1,4] z) <int64[2] s = {1,4}>
        { y = Reshape(x, s)  a = Relu(x)  z = Reshape(a, s) }""",
    )


def test_inside_branches() -> None:
    check(
        PASS,
        """g (float[1,4,8,8] x, bool p) => (float[A,B,C,D] z) <float[4,4,3,3] w>
        { c = Conv(x, w)
          z = If(p) < then_branch = t () => (float[A,B,C,D] u) { u = ConvTranspose(c, w) },
                      else_branch = e () => (float[A,B,C,D] v) { v = Conv(c, w) } > }""",
        """g (float[1,4,8,8] x, bool p) => (float[A,B,C,D] z) <float[4,4,3,3] w, float[4,4,3,3] k>
        { c = Conv(x, w)
          z = If(p) < then_branch = t () => (float[A,B,C,D] u) { u = ConvTranspose(c, k) },
                      else_branch = e () => (float[A,B,C,D] v) { v = Conv(c, w) } > }""",
    )
