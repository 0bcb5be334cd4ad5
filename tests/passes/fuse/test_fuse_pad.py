# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import pytest

from onnxq.passes.fuse.fuse_pad import FusePad
from tests.passes.golden import check

PASS = FusePad()
PADS = "int64[8] p = {0,0,1,2,0,0,2,1}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Conv(q, w)", "Conv<pads=[1,2,2,1]>(x, w)"),
        ("Conv<pads=[1,0,0,1]>(q, w)", "Conv<pads=[2,2,2,2]>(x, w)"),
        (
            'Conv<auto_pad="VALID", strides=[2,2]>(q, w)',
            "Conv<pads=[1,2,2,1], strides=[2,2]>(x, w)",
        ),
        (
            "AveragePool<kernel_shape=[3,3]>(q)",
            "AveragePool<kernel_shape=[3,3], pads=[1,2,2,1], count_include_pad=1>(x)",
        ),
        (
            "AveragePool<kernel_shape=[4,4], pads=[1,1,1,1], count_include_pad=1>(q)",
            "AveragePool<kernel_shape=[4,4], pads=[2,3,3,2], count_include_pad=1>(x)",
        ),
    ],
)
def test_match(before: str, after: str) -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float[4,3,3,3] w, {PADS}>
        {{ q = Pad(x, p)  y = {before} }}""",
        f"g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float[4,3,3,3] w> {{ y = {after} }}",
    )


@pytest.mark.parametrize("above", ["Relu(x)", "Sigmoid(x)", "Clip(x, z, s)", "Max(x, z)"])
def test_maxpool_behind_what_is_not_negative(above: str) -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float z = {{0}}, float s = {{6}}, {PADS}>
        {{ r = {above}  q = Pad(r, p, z)  y = MaxPool<kernel_shape=[3,3]>(q) }}""",
        f"""g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float z = {{0}}, float s = {{6}}>
        {{ r = {above}  y = MaxPool<kernel_shape=[3,3], pads=[1,2,2,1]>(r) }}""",
    )


def test_attributes_of_opset_10() -> None:
    check(
        PASS,
        """g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float[4,3,3,3] w>
        { q = Pad<pads=[0,0,1,1,0,0,1,1]>(x)  y = Conv(q, w) }""",
        """g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float[4,3,3,3] w>
        { y = Conv<pads=[1,1,1,1]>(x, w) }""",
        opset=10,
    )


def test_axes_of_opset_18() -> None:
    check(
        PASS,
        """g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float[4,3,3,3] w, int64[2] p = {1,2}, int64[1] a = {-1}>
        { q = Pad(x, p, , a)  y = Conv(q, w) }""",
        """g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float[4,3,3,3] w>
        { y = Conv<pads=[0,1,0,2]>(x, w) }""",
        opset=18,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pad", "below", "reason"),
    [
        ("Pad(x, p, one)", "Conv(q, w)", "pads with 1.0, not with zeros"),
        ('Pad<mode="reflect">(x, p)', "Conv(q, w)", "mode 'reflect'"),
        ("Pad(x, chan)", "Conv(q, v)", "pads the batch or the channels"),
        ("Pad(x, crop)", "Conv(q, w)", "it crops"),
        ("Pad(x, p)", 'Conv<auto_pad="SAME_UPPER">(q, w)', "pads automatically (SAME_UPPER)"),
        ("Pad(x, p)", "MaxPool<kernel_shape=[3,3]>(q)", "'x' may be below 0"),
        ("Pad(x, p)", "AveragePool<kernel_shape=[2,2]>(q)", "as wide as the kernel"),
        (
            "Pad(x, p)",
            "AveragePool<kernel_shape=[3,3], ceil_mode=1>(q)",
            "rounds its output size up",
        ),
        ("Pad(x, p)", "AveragePool<kernel_shape=[5,5], pads=[1,1,1,1]>(q)", "does not count"),
    ],
)
def test_declines(pad: str, below: str, reason: str) -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x) => (float[A,B,C,D] y)
        <float[4,3,3,3] w, float[4,4,3,3] v, {PADS}, float one = {{1}},
         int64[8] chan = {{0,1,0,0,0,0,0,0}}, int64[8] crop = {{0,0,-1,0,0,0,0,0}}>
        {{ [pad] q = {pad}  [below] y = {below} }}""",
        declines=[("pad", reason)],
    )


def test_second_reader_and_computed_amounts_decline() -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x, int64[8] c) => (float[A,B,C,D] q, float[A,B,C,D] y, float[A,B,C,D] z)
        <float[4,3,3,3] w, {PADS}>
        {{ [one] q = Pad(x, p)  [conv] y = Conv(q, w)  [two] r = Pad(x, c)  z = Conv(r, w) }}""",
        declines=[("one", "'q' between it and 'conv' is an output"), ("two", "are computed")],
        run=False,
    )


def test_no_candidates() -> None:
    check(
        PASS,
        f"""g (float[1,3,8,8] x) => (float[A,B,C,D] y) <{PADS}> {{ q = Pad(x, p)  y = Relu(q) }}""",
    )
