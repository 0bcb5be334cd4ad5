from __future__ import annotations

from onnxq.passes.canonical.remove_unused import RemoveUnused
from tests.passes.golden import check

PASS = RemoveUnused()


def test_dead_chain() -> None:
    check(
        PASS,
        """g (float[2] x) => (float[2] y) <float[2] w>
        { a = Neg(x)  b = Add(a, w)  c = Exp(b)  y = Relu(x) }""",
        "g (float[2] x) => (float[2] y) { y = Relu(x) }",
    )


def test_captured_tensors_are_alive() -> None:
    check(
        PASS,
        """g (float[2] x, bool p) => (float[2] y)
        { a = Neg(x)  d = Exp(x)
          y = If(p) < then_branch = t () => (float[2] u) { q = Abs(d)  u = Relu(a) },
                      else_branch = e () => (float[2] v) { v = Neg(x) } > }""",
        """g (float[2] x, bool p) => (float[2] y)
        { a = Neg(x)
          y = If(p) < then_branch = t () => (float[2] u) { u = Relu(a) },
                      else_branch = e () => (float[2] v) { v = Neg(x) } > }""",
    )


def test_dead_branching() -> None:
    check(
        PASS,
        """g (float[2] x, bool p) => (float[2] y)
        { a = Neg(x)
          b = If(p) < then_branch = t () => (float[2] u) { u = Relu(a) },
                      else_branch = e () => (float[2] v) { v = Neg(x) } >
          y = Relu(x) }""",
        "g (float[2] x, bool p) => (float[2] y) { y = Relu(x) }",
    )


def test_optional_outputs() -> None:
    check(
        PASS,
        """g (float[1,1,4,4] x) => (float[1,1,2,2] y, float[1,1,2,2] z, int64[1,1,2,2] i)
        { y, j = MaxPool<kernel_shape = [3,3]>(x)  z, i = MaxPool<kernel_shape = [3,3]>(x) }""",
        """g (float[1,1,4,4] x) => (float[1,1,2,2] y, float[1,1,2,2] z, int64[1,1,2,2] i)
        { y = MaxPool<kernel_shape = [3,3]>(x)  z, i = MaxPool<kernel_shape = [3,3]>(x) }""",
    )


def test_required_outputs_stay() -> None:
    check(
        PASS,
        """g (float[4] x) => (float[2] y) <int64[1] k = {2}>
        { y, i = TopK(x, k) }""",
    )
