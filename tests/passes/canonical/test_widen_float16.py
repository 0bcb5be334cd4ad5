# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from onnxq.passes.canonical.widen_float16 import WidenFloat16
from onnxq.pipeline import TensorFact
from onnxq.testing import check_pass
from tests.passes.golden import apply, check, context, parse

PASS = WidenFloat16()
HALF = 4e-3
# the text of a float16 tensor holds bits: 15360 is 1.0, 16384 is 2.0, 16896 is 3.0


def test_boundary_and_constants() -> None:
    result = check(
        PASS,
        """g (float16[1,3,4,4] x) => (float16[1,2,4,4] y) <float16[2,3,1,1] w, float16[2] b>
        { c = Conv(x, w, b)  y = Relu(c) }""",
        """g (float16[1,3,4,4] x) => (float16[1,2,4,4] y) <float[2,3,1,1] w, float[2] b>
        { i = Cast<to = 1>(x)  c = Conv(i, w, b)  o = Relu(c)  y = Cast<to = 10>(o) }""",
        tolerance=HALF,
    )
    assert {t.data_type for t in result.graph.initializer} == {TensorProto.FLOAT}


def test_an_input_that_is_an_output_and_an_output_with_readers() -> None:
    check(
        PASS,
        """g (float16[2] x) => (float16[2] x, float16[2] a, float16[2] y)
        { a = Relu(x)  b = Exp(a)  y = Add(b, x) }""",
        """g (float16[2] x) => (float16[2] x, float16[2] a, float16[2] y)
        { i = Cast<to = 1>(x)  r = Relu(i)  a = Cast<to = 10>(r)  b = Exp(r)  s = Add(b, i)
          y = Cast<to = 10>(s) }""",
        tolerance=HALF,
    )


def test_types_and_tensors_in_attributes() -> None:
    check(
        PASS,
        """g (float[2,2] x, int64[1] n) => (float[2,2] y, float16[2,2] z)
        { h = Cast<to = 10>(x)  c = Constant<value = float16[2] {15360, 16384}>()  a = Add(h, c)
          f = ConstantOfShape<value = float16[1] {16896}>(n)  k = Expand(c, n)  e = EyeLike<dtype = 10>(a)
          g = Add(a, e)  m = Add(g, c)  y = Cast<to = 1>(m)  z = Cast<to = 10>(x) }""",
        """g (float[2,2] x, int64[1] n) => (float[2,2] y, float16[2,2] z)
        { h = Cast<to = 1>(x)  c = Constant<value = float[2] {1, 2}>()  a = Add(h, c)
          f = ConstantOfShape<value = float[1] {3}>(n)  k = Expand(c, n)  e = EyeLike<dtype = 1>(a)
          g = Add(a, e)  m = Add(g, c)  y = Cast<to = 1>(m)  z = Cast<to = 10>(x) }""",
        tolerance=HALF,
        run=False,  # the shape 'n' is random
    )  # fmt: skip


def test_branches_and_what_they_capture() -> None:
    check(
        PASS,
        """g (float16[2] x, bool p) => (float16[2] y) <float16[2] w>
        { a = Neg(x)
          y = If(p) <
            then_branch = t () => (float16[2] u) { s = Mul(x, w)  u = Add(s, a) },
            else_branch = e () => (float16[2] v) { b = Constant<value = float16[2] {15360, 16384}>()  v = Add(x, b) } > }""",
        """g (float16[2] x, bool p) => (float16[2] y) <float[2] w>
        { i = Cast<to = 1>(x)  a = Neg(i)
          o = If(p) <
            then_branch = t () => (float[2] u) { s = Mul(i, w)  u = Add(s, a) },
            else_branch = e () => (float[2] v) { b = Constant<value = float[2] {1, 2}>()  v = Add(i, b) } >
          y = Cast<to = 10>(o) }""",
        tolerance=HALF,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["float", "bfloat16", "double"])
def test_without_float16(kind: str) -> None:
    check(
        PASS,
        f"g ({kind}[2] x) => ({kind}[2] y) <{kind}[2] w> {{ a = Mul(x, w)  y = Neg(a) }}",
        run=kind != "bfloat16",
    )


def test_twice_is_once() -> None:
    source = parse(
        "g (float16[2] x) => (float16[2] y) <float16[2] w> { a = Mul(x, w)  y = Relu(a) }"
    )
    once, _ = apply(PASS, source)
    twice, _ = apply(PASS, once)
    assert [n.op_type for n in once.graph.node] == ["Cast", "Mul", "Relu", "Cast"]
    assert list(twice.graph.node) == list(once.graph.node)


def test_operators_of_other_domains_decline() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float16[2] x, float[2] f) => (float16[2] y, float[2] z)
        { a = Neg(x)  [half] c = own.Op(a)  y = Neg(c)  [single] d = own.Op(f)  z = Neg(d) }"""
    source = onnx.parser.parse_model(text)
    result, ctx = apply(PASS, source)
    assert [n.op_type for n in result.graph.node] == ["Neg", "Op", "Neg", "Op", "Neg"]
    assert result.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    found = [(d.node, d.reason) for d in ctx.journal.declines]
    assert [n for n, _ in found] == ["half", "single"]
    assert "'a' in float16" in found[0][1]
    assert "'d', of unknown type" in found[1][1]


def test_operators_of_other_domains_without_float16() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float16[2] x, float[2] f) => (float16[2] y, float[2] z)
        { y = Neg(x)  z = own.Op(f) }"""
    result, ctx = apply(PASS, onnx.parser.parse_model(text))
    assert not ctx.journal.declines
    assert sorted(n.op_type for n in result.graph.node) == ["Cast", "Cast", "Neg", "Op"]


def test_sequences_decline() -> None:
    check(
        PASS,
        """g (seq(float16[2]) s, int64 i) => (float16[2] y) { y = SequenceAt(s, i) }""",
        declines=[("s", "this input is a sequence")],
        run=False,
    )


def test_facts_of_float16_are_dropped() -> None:
    ctx = context()
    ctx.facts = {"x": TensorFact(10, (2,)), "a": TensorFact(10, (2,)), "p": TensorFact(9, ())}
    source = parse("g (float16[2] x, bool p) => (float16[2] y) { a = Neg(x)  y = Neg(a) }")
    apply(PASS, source, ctx)
    assert set(ctx.facts) == {"p"}


def test_contract() -> None:
    source = parse(
        """g (float16[1,3,6,6] x) => (float16[1,3,6,6] y)
        <float16[3,3,1,1] a, float16[3,3,1,1] b, float16[3,3,1,1] c, float16[3,3,1,1] d>
        { p = Conv(x, a)  q = Conv(p, b)  r = Conv(q, c)  s = Conv(r, d)  y = Relu(s) }""",
        {k: np.eye(3, dtype=np.float16).reshape(3, 3, 1, 1) for k in "abcd"},
    )
    check_pass(PASS, source)
