# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import pytest

from onnxq.passes.canonical.remove_noops import RemoveNoops
from tests.passes.golden import check

PASS = RemoveNoops()


@pytest.mark.parametrize(
    "node",
    [
        "b = Identity(a)",
        "b = Dropout(a)",
        "b, mask = Dropout(a, r)",
        "b = Dropout(a, r, no)",
        "b = Cast<to = 1>(a)",
        "b = Concat<axis = 1>(a)",
        "b = Sum(a)",
        "b = Max(a)",
        "b = Mul(a, one)",
        "b = Mul(one, a)",
        "b = Mul(a, ones)",
        "b = Div(a, one)",
        "b = Add(a, nil)",
        "b = Sub(a, nil)",
        "b = Transpose<perm = [0, 1, 2]>(a)",
        "b = Reshape(a, same)",
        "b = Reshape(a, open)",
        "b = Pad(a, nopad)",
        "b = Slice(a, from, to)",
        "b = Slice(a, from, to, axes, steps)",
        "b = Expand(a, narrow)",
    ],
)
def test_removed(node: str) -> None:
    check(
        PASS,
        f"""g (float[N,3,4] x) => (float[N,3,4] y)
        <float r = {{0.5}}, bool no = {{0}}, float one = {{1}}, float[1,3,1] ones = {{1,1,1}},
         float nil = {{0}}, int64[3] same = {{0,3,4}}, int64[3] open = {{-1,3,0}},
         int64[6] nopad = {{0,0,0,0,0,0}}, int64[2] from = {{0,0}},
         int64[2] to = {{9223372036854775807,3}}, int64[2] axes = {{0,-2}}, int64[2] steps = {{1,1}},
         int64[2] narrow = {{3,1}}>
        {{ a = Relu(x)  {node}  y = Neg(b) }}""",
        "g (float[N,3,4] x) => (float[N,3,4] y) { a = Relu(x)  y = Neg(a) }",
    )


@pytest.mark.parametrize(
    "node",
    [
        "b = Cast<to = 10>(a)  c = Cast<to = 1>(b)",
        "c = Transpose(a)",
        "c = Reshape(a, two)",
        "c = Pad(a, pad)",
        "c = Slice(a, from, to)",
        "c = Sub(one, a)",
        "c = Div(one, a)",
    ],
)
def test_kept(node: str) -> None:
    check(
        PASS,
        f"""g (float[2,2] x) => (float[A,B] y)
        <float one = {{1}}, int64[2] two = {{4,-1}}, int64[4] pad = {{0,0,0,1}},
         int64[1] from = {{0}}, int64[1] to = {{1}}>
        {{ a = Exp(x)  {node}  y = Neg(c) }}""",
    )


def test_widening_constant_declines() -> None:
    check(
        PASS,
        """g (float[2,1] x) => (float[A,B] y, float[A,B,C] z)
        <float[3] wide = {1,1,1}, float[1,1,1] deep = {1}>
        { a = Exp(x)  [m] c = Mul(a, wide)  y = Neg(c)  [n] d = Mul(a, deep)  z = Neg(d) }""",
        declines=[("m", "its constant 'wide' widens 'a'"), ("n", "'deep' may widen 'a'")],
    )


def test_graph_output_keeps_its_name() -> None:
    check(
        PASS,
        "g (float[2] x) => (float[2] y) { a = Relu(x)  y = Identity(a) }",
        "g (float[2] x) => (float[2] y) { y = Relu(x) }",
    )


def test_between_input_and_output_declines() -> None:
    check(
        PASS,
        "g (float[2] x) => (float[2] y) { [id] y = Identity(x) }",
        declines=[("id", "its output is an output of the graph, and 'x' comes from outside")],
    )


def test_between_two_outputs_declines() -> None:
    check(
        PASS,
        "g (float[2] x) => (float[2] a, float[2] y) { a = Relu(x)  [id] y = Identity(a) }",
        declines=[("id", "'a' and its output are both outputs")],
    )


def test_branches() -> None:
    check(
        PASS,
        """g (float[2] x, bool p) => (float[2] y)
        { a = Relu(x)  i = Identity(a)
          y = If(p) < then_branch = t () => (float[2] u) { [captured] u = Identity(i) },
                      else_branch = e () => (float[2] v) { n = Neg(i)  v = Identity(n) } > }""",
        """g (float[2] x, bool p) => (float[2] y)
        { a = Relu(x)
          y = If(p) < then_branch = t () => (float[2] u) { u = Identity(a) },
                      else_branch = e () => (float[2] v) { v = Neg(a) } > }""",
        declines=[("captured", "'a' comes from outside")],
    )


def test_training_dropout_declines() -> None:
    check(
        PASS,
        """g (float[2] x, bool t) => (float[2] y) <float r = {0.5}, bool yes = {1}>
        { [d] a = Dropout(x, r, yes)  [e] b = Dropout(a, r, t)  c, m = Dropout(b)  y = Where(m, c, b) }""",
        declines=[("d", "training mode"), ("e", "its training mode is computed"), ("Dropout", "mask")],
        run=False,
    )  # fmt: skip
