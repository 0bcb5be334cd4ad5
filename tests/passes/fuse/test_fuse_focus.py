# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.fuse.fuse_focus import FuseFocus
from tests.passes.golden import check

PASS = FuseFocus()
CONSTANTS = """int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3},
int64[1] end = {9223372036854775807}, int64[1] eight = {8}, int64[1] last = {-1}"""
SLICES = """r0 = Slice(x, zero, end, two, two)  p0 = Slice(r0, zero, end, three, two)
r1 = Slice(x, one, end, two, two)  p1 = Slice(r1, zero, eight, last, two)
r2 = Slice(x, zero, end, two, two)  p2 = Slice(r2, one, end, three, two)
r3 = Slice(x, one, eight, two, two)  p3 = Slice(r3, one, end, three, two)"""
PHASES = [(0, 0), (1, 0), (0, 1), (1, 1)]


def focus(conv: str, *, join: str = "p0, p1, p2, p3", slices: str = SLICES) -> str:
    return f"""g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float[4,12,3,3] w, float[4] b, {CONSTANTS}>
    {{ {slices} [join] f = Concat<axis=1>({join})  [conv] y = {conv} }}"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Conv<pads=[1,1,1,1]>(f, w, b)", "kernel_shape=[6,6], pads=[2,2,2,2], strides=[2,2]"),
        (
            "Conv<pads=[1,0,0,1], strides=[2,1], kernel_shape=[3,3]>(f, w, b)",
            "kernel_shape=[6,6], pads=[2,0,0,2], strides=[4,2]",
        ),
    ],
)
def test_match(before: str, after: str) -> None:
    w = np.random.default_rng(0).normal(size=(4, 12, 3, 3)).astype(np.float32)
    wide = np.zeros((4, 3, 6, 6), np.float32)
    for place, (row, column) in enumerate(PHASES):
        wide[:, :, row::2, column::2] = w[:, 3 * place : 3 * place + 3]
    check(
        PASS,
        focus(before),
        f"""g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float[4,3,6,6] v, float[4] b>
        {{ y = Conv<{after}>(x, v, b) }}""",
        weights={"w": w},
        expected={"v": wide},
    )


def test_slices_of_two_axes_at_once() -> None:
    slices = SLICES.replace(
        "r3 = Slice(x, one, eight, two, two)  p3 = Slice(r3, one, end, three, two)",
        "p3 = Slice(x, ones, ends, axes, twos)",
    )
    more = "int64[2] ones = {1,1}, int64[2] ends = {8,8}, int64[2] axes = {3,2}, int64[2] twos = {2,2}, "
    check(
        PASS,
        focus("Conv(f, w)", slices=slices).replace("int64[1] zero", f"{more} int64[1] zero"),
        """g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float[4,3,6,6] v>
        { y = Conv<kernel_shape=[6,6], pads=[0,0,0,0], strides=[2,2]>(x, v) }""",
    )


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        ("Conv<dilations=[2,2], pads=[2,2,2,2]>(f, w)", "groups or dilations"),
        ('Conv<auto_pad="SAME_UPPER">(f, w)', "pads automatically"),
        ("Conv(f, w)  [other] z = Relu(f)", "read by 'other' too"),
    ],
)
def test_declines(conv: str, reason: str) -> None:
    text = focus(conv)
    if "other" in conv:
        text = text.replace("float[A,B,C,D] y)", "float[A,B,C,D] y, float[A,B,C,D] z)")
    check(PASS, text, declines=[("conv", reason)])


@pytest.mark.parametrize(
    ("join", "slices"),
    [
        ("p0, p1, p2, p2", SLICES),  # a corner is missing
        ("p0, p1, p2, p4", SLICES + "  p4 = Abs(p3)"),
    ],
)
def test_no_candidates(join: str, slices: str) -> None:
    check(PASS, focus("Conv(f, w)", join=join, slices=slices), run=False)
