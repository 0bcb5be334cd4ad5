# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxq.passes.canonical.constants_to_initializers import ConstantsToInitializers
from tests.passes.golden import apply, check, parse, same_outputs

PASS = ConstantsToInitializers()
WARNING = "1 inputs have stored values; these are constants from here on"


def test_every_numeric_form() -> None:
    check(
        PASS,
        """g (float[2] x) => (float[2] y, int64[2] z)
        { a = Constant<value_float = 2.0>()  b = Mul(x, a)
          c = Constant<value_floats = [1.0, 2.0]>()  y = Add(b, c)
          d = Constant<value = int64[2] {3, 4}>()  e = Constant<value_int = 5>()
          f = Constant<value_ints = [6, 7]>()  i = Add(d, e)  z = Add(i, f) }""",
        """g (float[2] x) => (float[2] y, int64[2] z)
        <float a = {2}, float[2] c = {1, 2}, int64[2] d = {3, 4}, int64 e = {5}, int64[2] f = {6, 7}>
        { b = Mul(x, a)  y = Add(b, c)  i = Add(d, e)  z = Add(i, f) }""",
    )


def test_inside_branches_and_captured() -> None:
    check(
        PASS,
        """g (float[2] x, bool p) => (float[2] y)
        { a = Constant<value_float = 2.0>()
          y = If(p) <
            then_branch = t () => (float[2] u) { b = Constant<value_float = 3.0>() s = Mul(x, a) u = Add(s, b) },
            else_branch = e () => (float[2] v) { v = Add(x, a) } > }""",
        """g (float[2] x, bool p) => (float[2] y) <float a, float b>
        { y = If(p) <
            then_branch = t () => (float[2] u) { s = Mul(x, a) u = Add(s, b) },
            else_branch = e () => (float[2] v) { v = Add(x, a) } > }""",
        expected={"a": 2.0, "b": 3.0},
    )  # fmt: skip


def test_declines() -> None:
    check(
        PASS,
        """g (float[2] x, bool p) => (float[2] y, float[2] z)
        { [out] z = Constant<value_floats = [1.0, 2.0]>()
          [if] y = If(p) <
            then_branch = t () => (float[2] u) { [inner] u = Constant<value_floats = [3.0, 4.0]>() },
            else_branch = e () => (float[2] v) { v = Neg(x) } > }""",
        declines=[
            ("out", "its value 'z' is an output of a graph"),
            ("inner", "its value 'u' is an output of a graph"),
        ],
    )


def test_strings_decline() -> None:
    check(
        PASS,
        """g (float[2] x) => (bool[2] y)
        { [a] a = Constant<value_strings = ["p", "q"]>()  [b] b = Constant<value_strings = ["p", "r"]>()
          y = Equal(a, b) }""",
        declines=[("a", "it holds value_strings"), ("b", "it holds value_strings")],
        opset=19,
    )  # fmt: skip


@pytest.mark.parametrize("ir", [3, 8])
def test_stored_inputs_are_constants(ir: int) -> None:
    source = parse(
        "g (float[2] x, float[2] w) => (float[2] y) <float[2] v> { a = Add(x, w)  y = Mul(a, v) }",
        ir=ir,
    )
    source.graph.initializer.append(numpy_helper.from_array(np.float32([1, 2]), "w"))
    if ir < 4:
        source.graph.input.append(onnx.helper.make_tensor_value_info("v", 1, [2]))
    result, ctx = apply(PASS, source)
    assert [i.name for i in result.graph.input] == ["x"]
    assert {t.name for t in result.graph.initializer} == {"w", "v"}
    assert result.ir_version == max(ir, 4)
    assert ctx.journal.warnings == ([] if ir < 4 else [WARNING])
    same_outputs(source, result, 0)
