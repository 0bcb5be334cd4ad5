# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import pytest

from onnxq.passes.fuse.recognise_hardswish import RecogniseHardSwish
from tests.passes.fuse.recognising import found, leaks, matches

PASS = RecogniseHardSwish()


@pytest.mark.parametrize(("kind", "body", "count"), [
    ("hardswish", """a = Add(x, c3)  b1 = Clip(a, c0, c6)  m = Mul(x, b1)  y = Div(m, c6)""", 4),
    ("hardswish", """a = Add(x, c3)  b1 = Clip(a, c0, c6)  m = Div(b1, c6)  y = Mul(x, m)""", 4),
    ("hardswish", """a = HardSigmoid<alpha = 0.16666667>(x)  y = Mul(a, x)""", 2),
    ("hardswish", """a = Add(c3, x)  b1 = Relu(a)  d = Min(b1, c6)  m = Mul(d, sixth)  y = Mul(x, m)""", 5),
])  # fmt: skip
def test_forms(kind: str, body: str, count: int) -> None:
    matches(PASS, kind, body, count)


@pytest.mark.parametrize("body", [
    """a = HardSigmoid(x)  y = Mul(a, x)""",
    """a = Add(x, c3)  b1 = Clip(a, c0, c6)  y = Div(b1, c6)""",
    """y = Relu(x)""",
])  # fmt: skip
def test_other_functions(body: str) -> None:
    assert not found(PASS, body)


def test_read_outside_declines() -> None:
    leaks(PASS, "a = Add(x, c3)  b1 = Clip(a, c0, c6)  m = Mul(x, b1)  y = Div(m, c6)", "a", "b1")
