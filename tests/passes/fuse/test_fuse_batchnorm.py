# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.fuse.fuse_batchnorm import FuseBatchNorm
from tests.passes.golden import apply, check, parse

PASS = FuseBatchNorm()
BN = "float[4] s, float[4] o, float[4] m, float[4] var"


def test_conv_without_bias() -> None:
    w = np.ones((4, 3, 3, 3), np.float32)
    check(
        PASS,
        f"""g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,3,3] w, {BN}>
        {{ [conv] c = Conv<pads=[1,1,1,1]>(x, w)  [bn] b = BatchNormalization<epsilon=0.1>(c, s, o, m, var)  [relu] y = Relu(b) }}""",
        """g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,3,3] w, float[4] b>
        { c = Conv<pads=[1,1,1,1]>(x, w, b)  y = Relu(c) }""",
        weights={
            "w": w,
            "s": np.float32([2, 2, 2, 2]), "o": np.float32([0, 1, 2, 3]),
            "m": np.float32([1, 1, 0, 0]), "var": np.float32([0.9, 0.9, 3.9, 3.9]),
        },
        expected={"w": w * np.float32([2, 2, 1, 1])[:, None, None, None], "b": [-2, -1, 2, 3]},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("op", "shape", "out"),
    [
        ("Conv<group=2>", "4,3,3,3", "float[1,4,6,6]"),
        ("Conv<group=2, strides=[2,2]>", "4,3,3,3", "float[1,4,3,3]"),
        ("ConvTranspose<group=2>", "6,2,3,3", "float[1,4,10,10]"),
        ("ConvTranspose", "6,4,2,2", "float[1,4,9,9]"),
    ],
)
def test_groups_and_transposes(op: str, shape: str, out: str) -> None:
    check(
        PASS,
        f"""g (float[1,6,8,8] x) => ({out} y) <float[{shape}] w, float[4] c, {BN}>
        {{ t = {op}(x, w, c)  y = BatchNormalization(t, s, o, m, var) }}""",
        f"""g (float[1,6,8,8] x) => ({out} y) <float[{shape}] w, float[4] c>
        {{ y = {op}(x, w, c) }}""",
    )


@pytest.mark.parametrize(
    ("attrs", "a", "b", "c", "kept"),
    [
        ("", "2,5", "5,4", "4", ""),
        ("<alpha=0.5, beta=3.0>", "2,5", "5,4", "1,4", "<alpha=0.5>"),
        ("<transA=1, transB=1>", "5,2", "4,5", "", "<transA=1, transB=1>"),
        ("<transB=1>", "2,5", "4,5", "2,1", "<transB=1>"),
    ],
)
def test_gemm(attrs: str, a: str, b: str, c: str, kept: str) -> None:
    bias = f"float[{c}] c," if c else ""
    shape = {"4": "4", "1,4": "1,4", "": "4", "2,1": "2,4"}[c]
    check(
        PASS,
        f"""g (float[{a}] x) => (float[2,4] y) <float[{b}] w, {bias} {BN}>
        {{ t = Gemm{attrs}(x, w{", c" if c else ""})  y = BatchNormalization(t, s, o, m, var) }}""",
        f"""g (float[{a}] x) => (float[2,4] y) <float[{b}] w, float[{shape}] c>
        {{ y = Gemm{kept}(x, w, c) }}""",
    )


def test_matmul_becomes_a_gemm() -> None:
    check(
        PASS,
        f"""g (float[2,5] x) => (float[2,4] y) <float[5,4] w, {BN}>
        {{ t = MatMul(x, w)  y = BatchNormalization(t, s, o, m, var) }}""",
        """g (float[2,5] x) => (float[2,4] y) <float[5,4] w, float[4] b>
        { y = Gemm(x, w, b) }""",
    )


def test_matmul_of_higher_rank_declines() -> None:
    check(
        PASS,
        f"""g (float[2,4,5] x) => (float[2,4,4] y) <float[5,4] w, {BN}>
        {{ [mm] t = MatMul(x, w)  [bn] y = BatchNormalization(t, s, o, m, var) }}""",
        declines=[("bn", "needs a matrix, and the rank of 't' is 3")],
    )


def test_shared_weight_is_copied() -> None:
    check(
        PASS,
        f"""g (float[1,4,8,8] x) => (float[1,4,6,6] y, float[1,4,6,6] z) <float[4,4,3,3] w, {BN}>
        {{ c = Conv(x, w)  y = BatchNormalization(c, s, o, m, var)  z = Conv(x, w) }}""",
        """g (float[1,4,8,8] x) => (float[1,4,6,6] y, float[1,4,6,6] z)
        <float[4,4,3,3] v, float[4,4,3,3] w, float[4] b>
        { y = Conv(x, v, b)  z = Conv(x, w) }""",
    )


def test_half_precision_stays_half() -> None:
    check(
        PASS,
        """g (float16[1,3,8,8] x) => (float16[1,4,6,6] y)
        <float16[4,3,3,3] w, float16[4] s, float16[4] o, float16[4] m, float16[4] var>
        { c = Conv(x, w)  y = BatchNormalization(c, s, o, m, var) }""",
        """g (float16[1,3,8,8] x) => (float16[1,4,6,6] y) <float16[4,3,3,3] w, float16[4] b>
        { y = Conv(x, w, b) }""",
        tolerance=2e-3,
    )


def test_half_precision_overflow_declines() -> None:
    check(
        PASS,
        """g (float16[1,3,8,8] x) => (float16[1,4,6,6] y)
        <float16[4,3,3,3] w, float16[4] s, float16[4] o, float16[4] m, float16[4] var>
        { [c] c = Conv(x, w)  [bn] y = BatchNormalization(c, s, o, m, var) }""",
        weights={"w": np.full((4, 3, 3, 3), 6e4, np.float16), "s": np.full(4, 6e4, np.float16)},
        declines=[("bn", "beyond the range of float16")],
        run=False,
    )


def test_tensor_between_as_output_declines() -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x) => (float[1,4,6,6] c, float[1,4,6,6] y) <float[4,3,3,3] w, {BN}>
        {{ [conv] c = Conv(x, w)  [bn] y = BatchNormalization(c, s, o, m, var) }}""",
        declines=[("bn", "'c' between 'conv' and it is an output of the graph")],
    )


def test_second_reader_declines() -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x) => (float[1,4,6,6] y) <float[4,3,3,3] w, {BN}>
        {{ [conv] c = Conv(x, w)  [bn] b = BatchNormalization(c, s, o, m, var)  [add] y = Add(b, c) }}""",
        declines=[("bn", "read by 'add' too")],
    )


def test_reader_in_a_branch_declines() -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x, bool p) => (float[1,4,6,6] y, float[1,4,6,6] z)
        <float[4,3,3,3] w, {BN}>
        {{ [conv] c = Conv(x, w)  [bn] y = BatchNormalization(c, s, o, m, var)
           [if] z = If(p) <
             then_branch = t () => (float[1,4,6,6] u) {{ [inner] u = Relu(c) }},
             else_branch = e () => (float[1,4,6,6] v) {{ v = Neg(c) }}
           > }}""",
        declines=[("bn", "read by 'inner' too")],
    )


def test_inside_a_branch() -> None:
    def branch(body: str) -> str:
        return f"""z = If(p) <
             then_branch = t () => (float[1,4,6,6] u) {{ {body} }},
             else_branch = e () => (float[1,4,6,6] v) {{ v = Conv(x, w) }} >"""

    check(
        PASS,
        f"""g (float[1,3,8,8] x, bool p) => (float[1,4,6,6] z) <float[4,3,3,3] w, {BN}>
        {{ {branch("c = Conv(x, w)  u = BatchNormalization(c, s, o, m, var)")} }}""",
        f"""g (float[1,3,8,8] x, bool p) => (float[1,4,6,6] z)
        <float[4,3,3,3] w, float[4,3,3,3] w2, float[4] b>
        {{ {branch("u = Conv(x, w2, b)")} }}""",
    )


def test_captured_convolution_declines() -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x, bool p) => (float[1,4,6,6] z) <float[4,3,3,3] w, {BN}>
        {{ c = Conv(x, w)
           z = If(p) <
             then_branch = t () => (float[1,4,6,6] u) {{ [bn] u = BatchNormalization(c, s, o, m, var) }},
             else_branch = e () => (float[1,4,6,6] v) {{ v = Conv(x, w) }} > }}""",
        declines=[("bn", "before it stands no node of this graph")],
    )


def test_computed_weight_and_statistic_decline() -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x, float[4,3,3,3] w, float[4] sx) => (float[1,4,6,6] y, float[1,4,6,6] z)
        <float[4,3,3,3] k, {BN}>
        {{ [conv] c = Conv(x, w)  [bn] y = BatchNormalization(c, s, o, m, var)
           d = Conv(x, k)  [bn2] z = BatchNormalization(d, sx, o, m, var) }}""",
        declines=[("bn", "'conv': its weight 'w' is computed"), ("bn2", "its scale is computed")],
    )


def test_training_mode_declines() -> None:
    proto = parse(
        f"""g (float[1,3,8,8] x) => (float[1,4,6,6] y, float[4] rm, float[4] rv) <float[4,3,3,3] w, {BN}>
        {{ c = Conv(x, w)  [bn] y, rm, rv = BatchNormalization<training_mode=1>(c, s, o, m, var) }}""",
        opset=15,
    )
    result, ctx = apply(PASS, proto)
    assert [n.op_type for n in result.graph.node] == ["Conv", "BatchNormalization"]
    assert "training mode" in ctx.journal.declines[0].reason


def test_alone_declines() -> None:
    check(
        PASS,
        f"""g (float[1,4,8,8] x) => (float[1,4,8,8] y) <{BN}>
        {{ [relu] r = Relu(x)  [bn] y = BatchNormalization(r, s, o, m, var) }}""",
        declines=[("bn", "before it stands 'relu' (Relu)")],
    )
