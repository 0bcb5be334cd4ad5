from __future__ import annotations

from onnxq.passes.canonical.name_nodes import NameNodes
from tests.passes.golden import apply, check, parse

TEXT = """g (float[4] x, bool p) => (float[4] y)
{ a = Relu(x)  [same] b = Relu(a)  [same] c = Neg(b)  [Relu_a] d = Abs(c)
  [if] y = If(p) < then_branch = t () => (float[4] u) { [same] u = Relu(d) },
                   else_branch = e () => (float[4] u) { u = Neg(d) } > }"""


def test_names() -> None:
    result, _ = apply(NameNodes(), parse(TEXT))
    assert [n.name for n in result.graph.node] == ["Relu_a_1", "same", "same_1", "Relu_a", "if"]
    branches = [a.g.node[0].name for a in result.graph.node[-1].attribute]
    assert branches == ["same_2", "Neg_u"]


def test_again_changes_nothing() -> None:
    once, _ = apply(NameNodes(), parse(TEXT))
    twice, _ = apply(NameNodes(), once)
    assert [n.name for n in once.graph.node] == [n.name for n in twice.graph.node]


def test_the_function_stays() -> None:
    check(NameNodes(), TEXT.replace("[same] ", ""))
