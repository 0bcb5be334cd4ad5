# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import pytest

from onnxq.passes.fuse.recognise_gelu import RecogniseGelu
from tests.passes.fuse.recognising import found, leaks, matches

PASS = RecogniseGelu()


@pytest.mark.parametrize(("kind", "body", "count"), [
    ("gelu", """d = Div(x, root2)  e = Erf(d)  a = Add(e, one)  m = Mul(x, a)  y = Mul(m, half)""", 5),
    ("gelu", """h = Mul(x, half)  d = Mul(x, r2)  e = Erf(d)  a = Add(one, e)  y = Mul(h, a)""", 5),
    ("gelu", """c = Pow(x, cube)  d = Mul(c, k)  e = Add(x, d)  f = Mul(e, p)  t = Tanh(f)  a = Add(t, one)
    m = Mul(a, x)  y = Mul(half, m)""", 8),
    ("gelu", """s = Mul(x, q)  t = Sigmoid(s)  y = Mul(x, t)""", 3),
])  # fmt: skip
def test_forms(kind: str, body: str, count: int) -> None:
    matches(PASS, kind, body, count)


@pytest.mark.parametrize("body", [
    """t = Tanh(x)  y = Mul(x, t)""",
    """s = Sigmoid(x)  y = Mul(x, s)""",
    """d = Div(x, two)  e = Erf(d)  a = Add(e, one)  m = Mul(x, a)  y = Mul(m, half)""",
])  # fmt: skip
def test_other_functions(body: str) -> None:
    assert not found(PASS, body)


def test_read_outside_declines() -> None:
    leaks(PASS, "s = Mul(x, q)  t = Sigmoid(s)  y = Mul(x, t)", "s", "t")


def test_two_in_a_row() -> None:
    one = "d{0} = Div({1}, root2)  e{0} = Erf(d{0})  a{0} = Add(e{0}, one)  m{0} = Mul({1}, a{0})  {2} = Mul(m{0}, half)"
    groups = found(PASS, f"{one.format(1, 'x', 't')}  {one.format(2, 't', 'y')}")
    assert [(g.input, g.output) for g in groups] == [("x", "t"), ("t", "y")]
