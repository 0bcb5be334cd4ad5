# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import pytest

from onnxq.passes.fuse.recognise_silu import RecogniseSiLU
from tests.passes.fuse.recognising import found, leaks, matches
from tests.passes.golden import check, context

PASS = RecogniseSiLU()


@pytest.mark.parametrize(("kind", "body", "count"), [
    ("silu", """s = Sigmoid(x)  y = Mul(x, s)""", 2),
    ("silu", """n = Neg(x)  e = Exp(n)  d = Add(e, one)  y = Div(x, d)""", 4),
])  # fmt: skip
def test_forms(kind: str, body: str, count: int) -> None:
    matches(PASS, kind, body, count)


@pytest.mark.parametrize("body", [
    """s = Sigmoid(x)  y = Mul(s, z)""",
    """s = Sigmoid(x)  y = Mul(s, g)""",
    """s = Sigmoid(x)  y = Mul(s, half)""",
])  # fmt: skip
def test_other_functions(body: str) -> None:
    assert not found(PASS, body)


def test_read_outside_declines() -> None:
    leaks(PASS, "s = Sigmoid(x)  y = Mul(x, s)", "s", "s")


def test_inside_a_branch() -> None:
    ctx = context()
    check(
        PASS,
        """g (float[2] x, bool p) => (float[2] y)
        { [if] y = If(p) < then_branch = t () => (float[2] u) { [s] s = Sigmoid(x) [m] u = Mul(s, x) },
                           else_branch = e () => (float[2] v) { [n] v = Neg(x) } > }""",
        ctx=ctx,
    )
    assert [g.nodes for g in ctx.groups] == [("s", "m")]
