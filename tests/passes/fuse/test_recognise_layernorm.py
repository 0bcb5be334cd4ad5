# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import pytest

from onnxq.passes.fuse.recognise_layernorm import RecogniseLayerNorm
from tests.passes.fuse.recognising import found, leaks, matches

PASS = RecogniseLayerNorm()


@pytest.mark.parametrize(("kind", "body", "count"), [
    ("rmsnorm", """s = Mul(x, x)  m = ReduceMean<axes=[-1]>(s)  a = Add(m, eps)  r = Sqrt(a)  y = Div(x, r)""", 5),
    ("rmsnorm", """s = Pow(x, two)  m = ReduceMean<axes=[-1]>(s)  a = Add(eps, m)  r = Sqrt(a)
    i = Reciprocal(r)  n = Mul(i, x)  y = Mul(g, n)""", 7),
    ("rmsnorm", """s = Pow(x, two)  m = ReduceMean<axes=[-1]>(s)  a = Add(eps, m)  r = Sqrt(a)
    i = Div(one, r)  n = Mul(x, i)  y = Mul(n, g)""", 7),
    ("layernorm", """u = ReduceMean<axes=[-1]>(x)  d = Sub(x, u)  s = Pow(d, two)  m = ReduceMean<axes=[-1]>(s)
    a = Add(m, eps)  r = Sqrt(a)  n = Div(d, r)  o = Mul(n, g)  y = Add(o, b)""", 9),
    ("layernorm", """u = ReduceMean<axes=[-1]>(x)  d = Sub(x, u)  s = Mul(d, d)  m = ReduceMean<axes=[-1]>(s)
    a = Add(m, eps)  r = Sqrt(a)  y = Div(d, r)""", 7),
])  # fmt: skip
def test_forms(kind: str, body: str, count: int) -> None:
    matches(PASS, kind, body, count)


@pytest.mark.parametrize("body", [
    """a = Abs(x)  y = Sqrt(a)""",
    """s = Mul(x, z)  m = ReduceMean<axes=[-1]>(s)  a = Add(m, c6)  r = Sqrt(a)  y = Div(x, r)""",
    """s = Mul(x, x)  m = ReduceMean<axes=[-1]>(s)  a = Add(m, eps)  r = Sqrt(a)  y = Div(z, r)""",
    """s = Pow(x, cube)  m = ReduceMean<axes=[-1]>(s)  a = Add(m, eps)  r = Sqrt(a)  y = Div(x, r)""",
])  # fmt: skip
def test_other_functions(body: str) -> None:
    assert not found(PASS, body)


def test_read_outside_declines() -> None:
    leaks(
        PASS,
        "s = Mul(x, x)  m = ReduceMean<axes=[-1]>(s)  a = Add(m, eps)  r = Sqrt(a)  y = Div(x, r)",
        "m",
        "r",
    )
