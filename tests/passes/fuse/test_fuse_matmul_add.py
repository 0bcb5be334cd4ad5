from __future__ import annotations

import pytest

from onnxq.passes.fuse.fuse_matmul_add import FuseMatMulAdd
from tests.passes.golden import check

PASS = FuseMatMulAdd()


@pytest.mark.parametrize("bias", ["4", "1,4", "1", ""])
@pytest.mark.parametrize("order", ["t, b", "b, t"])
def test_match(bias: str, order: str) -> None:
    check(
        PASS,
        f"""g (float[N,3] x) => (float[N,4] y) <float[3,4] w, float[{bias}] b>
        {{ t = MatMul(x, w)  y = Add({order}) }}""".replace("float[]", "float"),
        """g (float[N,3] x) => (float[N,4] y) <float[3,4] w, float[4] b>
        { y = Gemm(x, w, b) }""",
    )


def test_shared_bias_is_copied() -> None:
    check(
        PASS,
        """g (float[2,3] x) => (float[2,4] y, float[2,4] z) <float[3,4] w, float[1,4] b>
        { t = MatMul(x, w)  y = Add(t, b)  r = Relu(t2)  t2 = Neg(y)  z = Mul(r, b) }""".replace(
            "r = Relu(t2)  t2 = Neg(y)", "r = Neg(y)"
        ),
        """g (float[2,3] x) => (float[2,4] y, float[2,4] z)
        <float[3,4] w, float[4] c, float[1,4] b>
        { y = Gemm(x, w, c)  r = Neg(y)  z = Mul(r, b) }""",
    )


@pytest.mark.parametrize(
    ("x", "y", "b", "reason"),
    [
        ("2,5,3", "2,5,4", "4", "has rank 3, and Gemm takes matrices"),
        ("2,3", "2,4", "2,1", "not one value for each column"),
        ("1,3", "2,4", "2,4", "not one value for each column"),
    ],
)
def test_declines(x: str, y: str, b: str, reason: str) -> None:
    check(
        PASS,
        f"""g (float[{x}] x) => (float[{y}] y) <float[3,4] w, float[{b}] b>
        {{ t = MatMul(x, w)  [add] y = Add(t, b) }}""",
        declines=[("add", reason)],
    )


def test_product_as_output_declines() -> None:
    check(
        PASS,
        """g (float[2,3] x) => (float[2,4] t, float[2,4] y) <float[3,4] w, float[4] b>
        { [mm] t = MatMul(x, w)  [add] y = Add(t, b) }""",
        declines=[("add", "'t' between 'mm' and it is an output of the graph")],
    )


def test_no_candidates() -> None:
    check(
        PASS,
        """g (float[2,3] x, float[3,4] w, float[4] d) => (float[2,4] y, float[2,4] z)
        <float[4] b, float[3,4] k>
        { t = MatMul(x, w)  y = Add(t, b)  u = MatMul(x, k)  z = Add(u, d) }""",
    )
