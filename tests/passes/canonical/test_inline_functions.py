# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import onnx

from onnxq.passes.canonical.inline_functions import InlineFunctions
from tests.passes.golden import check

HEAD = '<ir_version: 8, opset_import: ["" : 13, "my" : 1]>'
BODY = """<domain: "my", opset_import: ["" : 13, "my" : 1]>
        scale<by>(x) => (y) { c = Constant<value_float: float = @by>()  y = Mul(x, c) }
        <domain: "my", opset_import: ["" : 13, "my" : 1]>
        twice(x) => (y) { a = my.scale<by = 2.0>(x)  y = my.scale<by = 3.0>(a) }"""


def test_nested_calls() -> None:
    result = check(
        InlineFunctions(),
        f"""{HEAD} g (float[2] x) => (float[2] y) {{ a = Relu(x)  y = my.twice(a) }} {BODY}""",
        """g (float[2] x) => (float[2] y)
        { a = Relu(x)  p = Constant<value_float = 2.0>()  b = Mul(a, p)
          q = Constant<value_float = 3.0>()  y = Mul(b, q) }""",
    )
    assert not result.functions


def test_inside_a_branch() -> None:
    result = check(
        InlineFunctions(),
        f"""{HEAD} g (float[2] x, bool p) => (float[2] y)
        {{ y = If(p) < then_branch = t () => (float[2] u) {{ u = my.scale<by = 2.0>(x) }},
                       else_branch = e () => (float[2] v) {{ v = Neg(x) }} > }} {BODY}""",
        """g (float[2] x, bool p) => (float[2] y)
        { y = If(p) < then_branch = t () => (float[2] u) { c = Constant<value_float = 2.0>()  u = Mul(x, c) },
                      else_branch = e () => (float[2] v) { v = Neg(x) } > }""",
    )  # fmt: skip
    assert not result.functions


def test_without_functions_nothing_changes() -> None:
    text = "g (float[2] x) => (float[2] y) { y = Gelu(x) }"
    result = check(InlineFunctions(), text, opset=20)
    assert [n.op_type for n in result.graph.node] == ["Gelu"]
    assert isinstance(result, onnx.ModelProto)
