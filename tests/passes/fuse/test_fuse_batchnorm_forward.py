from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.fuse.fuse_batchnorm_forward import FuseBatchNormForward
from onnxq.pipeline.trained import TrainedWeight
from tests.passes.golden import check, context

PASS = FuseBatchNormForward()
BN = "float[4] s, float[4] o, float[4] m, float[4] var"
ZERO = np.zeros(4, np.float32)


@pytest.mark.parametrize(("attrs", "shape"), [("", "6,4,3,3"), ("<group=2>", "6,2,3,3")])
@pytest.mark.parametrize("bias", ["", ", c"])
def test_unpadded_conv(attrs: str, shape: str, bias: str) -> None:
    check(
        PASS,
        f"""g (float[1,4,8,8] x) => (float[1,6,6,6] y) <float[{shape}] w, float[6] c, {BN}>
        {{ b = BatchNormalization(x, s, o, m, var)  y = Conv{attrs}(b, w{bias}) }}""",
        f"""g (float[1,4,8,8] x) => (float[1,6,6,6] y) <float[{shape}] w, float[6] c>
        {{ y = Conv{attrs}(x, w, c) }}""",
    )


def test_padded_conv_declines_a_shift() -> None:
    check(
        PASS,
        f"""g (float[1,4,8,8] x) => (float[1,6,8,8] y) <float[6,4,3,3] w, {BN}>
        {{ [bn] b = BatchNormalization(x, s, o, m, var)  y = Conv<pads=[1,1,1,1]>(b, w) }}""",
        declines=[("bn", "the Conv pads with zeros")],
    )


@pytest.mark.parametrize("attr", ["pads=[1,1,1,1]", 'auto_pad="SAME_UPPER"'])
def test_padded_conv_takes_a_factor(attr: str) -> None:
    check(
        PASS,
        f"""g (float[1,4,8,8] x) => (float[1,6,8,8] y) <float[6,4,3,3] w, {BN}>
        {{ b = BatchNormalization(x, s, o, m, var)  y = Conv<{attr}>(b, w) }}""",
        f"""g (float[1,4,8,8] x) => (float[1,6,8,8] y) <float[6,4,3,3] w>
        {{ y = Conv<{attr}>(x, w) }}""",
        weights={"o": ZERO, "m": ZERO},
    )


def test_conv_transpose() -> None:
    text = f"""g (float[1,4,8,8] x) => (float[1,6,10,10] y) <float[4,3,3,3] w, {BN}>
        {{ [bn] b = BatchNormalization(x, s, o, m, var)  y = ConvTranspose<group=2>(b, w) }}"""
    check(
        PASS,
        text,
        """g (float[1,4,8,8] x) => (float[1,6,10,10] y) <float[4,3,3,3] w>
        { y = ConvTranspose<group=2>(x, w) }""",
        weights={"o": ZERO, "m": ZERO},
    )
    check(PASS, text, declines=[("bn", "less near the borders")])


@pytest.mark.parametrize(("attrs", "w"), [("<alpha=2.0, beta=0.5>", "4,5"), ("<transB=1>", "5,4")])
def test_gemm(attrs: str, w: str) -> None:
    kept = attrs.replace(", beta=0.5", "")
    check(
        PASS,
        f"""g (float[2,4] x) => (float[2,5] y) <float[{w}] w, float[5] c, {BN}>
        {{ b = BatchNormalization(x, s, o, m, var)  y = Gemm{attrs}(b, w, c) }}""",
        f"""g (float[2,4] x) => (float[2,5] y) <float[{w}] w, float[5] c>
        {{ y = Gemm{kept}(x, w, c) }}""",
    )


def test_transposed_input_declines() -> None:
    check(
        PASS,
        f"""g (float[2,4] x) => (float[4,5] y) <float[2,5] w, {BN}>
        {{ [bn] b = BatchNormalization(x, s, o, m, var)  [mm] y = Gemm<transA=1>(b, w) }}""",
        declines=[("bn", "'mm' transposes its input")],
    )


def test_matmul() -> None:
    check(
        PASS,
        f"""g (float[2,4] x) => (float[2,5] y) <float[4,5] w, {BN}>
        {{ b = BatchNormalization(x, s, o, m, var)  y = MatMul(b, w) }}""",
        """g (float[2,4] x) => (float[2,5] y) <float[4,5] w, float[5] c>
        { y = Gemm(x, w, c) }""",
    )


def test_two_readers_decline() -> None:
    check(
        PASS,
        f"""g (float[1,4,8,8] x) => (float[1,6,6,6] y, float[1,4,8,8] z) <float[6,4,3,3] w, {BN}>
        {{ [bn] b = BatchNormalization(x, s, o, m, var)  [c] y = Conv(b, w)  [r] z = Relu(b) }}""",
        declines=[("bn", "read by 'r' too")],
    )


def test_other_operator_declines() -> None:
    check(
        PASS,
        f"""g (float[1,4,8,8] x) => (float[1,4,8,8] y) <{BN}>
        {{ [bn] b = BatchNormalization(x, s, o, m, var)  [r] y = Relu(b) }}""",
        declines=[("bn", "'r' (Relu) behind it is not one of")],
    )


def test_reader_in_a_branch_declines() -> None:
    check(
        PASS,
        f"""g (float[1,4,8,8] x, bool p) => (float[1,6,6,6] z) <float[6,4,3,3] w, {BN}>
        {{ [bn] b = BatchNormalization(x, s, o, m, var)
           z = If(p) <
             then_branch = t () => (float[1,6,6,6] u) {{ [inner] u = Conv(b, w) }},
             else_branch = e () => (float[1,6,6,6] v) {{ v = Conv(x, w) }} > }}""",
        declines=[("bn", "'inner' behind it is inside of a sub-graph")],
    )


def test_shared_weight_is_copied() -> None:
    check(
        PASS,
        f"""g (float[1,4,8,8] x) => (float[1,6,6,6] y, float[1,6,6,6] z) <float[6,4,3,3] w, {BN}>
        {{ b = BatchNormalization(x, s, o, m, var)  y = Conv(b, w)  z = Conv(x, w) }}""",
        """g (float[1,4,8,8] x) => (float[1,6,6,6] y, float[1,6,6,6] z)
        <float[6,4,3,3] v, float[6,4,3,3] w, float[6] c>
        { y = Conv(x, v, c)  z = Conv(x, w) }""",
    )


def test_codes_from_training_have_no_scale_for_each_input() -> None:
    ctx = context()
    ctx.trained.weights["conv", 1] = TrainedWeight(np.zeros((6, 4, 3, 3), int), np.ones(()), 8)
    text = f"""g (float[1,4,8,8] x) => (float[1,6,6,6] y) <float[6,4,3,3] w, {BN}>
        {{ [bn] b = BatchNormalization(x, s, o, m, var)  [conv] y = Conv(b, w) }}"""
    check(PASS, text, ctx=ctx, declines=[("bn", "'conv' has codes from training")])
    alike = {"s": np.ones(4, np.float32), "var": np.ones(4, np.float32)}
    check(
        PASS,
        text,
        """g (float[1,4,8,8] x) => (float[1,6,6,6] y) <float[6,4,3,3] w, float[6] c>
        { y = Conv(x, w, c) }""",
        weights=alike,
        ctx=ctx,
        declines=[("bn", "'conv' has codes from training")],
    )
