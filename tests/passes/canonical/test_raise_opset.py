# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import onnx
import pytest

from onnxq.errors import OptionError
from onnxq.passes.canonical.raise_opset import RaiseOpset
from tests.passes.golden import apply, check, context, parse, same_outputs

PASS = RaiseOpset()


def opset_of(model: onnx.ModelProto) -> int:
    return next(d.version for d in model.opset_import if d.domain == "")


@pytest.mark.parametrize(
    ("before", "after", "old"),
    [
        ("y = Squeeze<axes = [0]>(x)", "<int64[1] a = {0}> y = Squeeze(x, a)", 11),
        ("y = Unsqueeze<axes = [0]>(x)", "<int64[1] a = {0}> y = Unsqueeze(x, a)", 11),
        ("y = ReduceSum<axes = [2]>(x)", "<int64[1] a = {2}> y = ReduceSum(x, a)", 11),
        ("y = Clip<max = 6.0>(x)", "<float a = {6}> y = Clip(x, , a)", 7),
        ("y = Dropout<ratio = 0.3>(x)", "<> y = Dropout(x)", 7),
        ("y = Softmax<axis = 2>(x)", "<> y = Softmax<axis = -1>(x)", 11),
        (
            "y = Pad<pads = [0,0,1,0,0,2], value = 1.5>(x)",
            "<int64[6] a = {0,0,1,0,0,2}, float b = {1.5}> y = Pad(x, a, b)",
            10,
        ),
        (
            "y = Slice<starts = [1], ends = [3], axes = [2]>(x)",
            "<int64[1] a = {1}, int64[1] b = {3}, int64[1] c = {2}> y = Slice(x, a, b, c)",
            9,
        ),
        (
            "y, i = TopK<k = 2>(x)",
            "<int64[1] a = {2}> y, i = TopK(x, a)",
            9,
        ),
        (
            "y, z = Split<axis = 1, split = [1, 2]>(x)",
            "<int64[2] a = {1, 2}> y, z = Split<axis = 1>(x, a)",
            11,
        ),
    ],
)
def test_operators(before: str, after: str, old: int) -> None:
    head = "g (float[1,3,4] x) => (float[A,B,C] y)"
    if "= Squeeze" in before:
        head = "g (float[1,3,4] x) => (float[A,B] y)"
    elif "= Unsq" in before:
        head = "g (float[1,3,4] x) => (float[A,B,C,D] y)"
    declared, _, node = after.partition("> ")
    result = check(
        PASS,
        f"{head} {{ {before} }}",
        f"{head} {declared + '>' if declared != '<' else ''} {{ {node} }}",
        opset=old,
        opset_after=13,
    )
    assert opset_of(result) == 13
    assert result.ir_version >= 7


def test_resize_and_batchnorm() -> None:
    result = check(
        PASS,
        """g (float[1,4,3,3] x) => (float[A,B,C,D] y)
        <float[4] s = {1,1,2,2}, float[4] a, float[4] b, float[4] c, float[4] var>
        { r = Resize(x, s)  y = BatchNormalization(r, a, b, c, var) }""",
        """g (float[1,4,3,3] x) => (float[A,B,C,D] y)
        <float[4] s = {1,1,2,2}, float[0] roi, float[4] a, float[4] b, float[4] c, float[4] var>
        { r = Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(x, roi, s)
          y = BatchNormalization(r, a, b, c, var) }""",
        opset=10,
        opset_after=13,
    )  # fmt: skip
    assert opset_of(result) == 13


def test_half_precision_bounds_stay_half() -> None:
    source = parse(
        "g (float16[4] x) => (float16[4] y) { a = Neg(x)  b = Clip<max = 6.0>(a)  y = Relu(b) }",
        opset=7,
    )
    del source.graph.value_info[:]
    result, _ = apply(PASS, source)
    assert [t.data_type for t in result.graph.initializer] == [onnx.TensorProto.FLOAT16]


def test_branches_and_metadata() -> None:
    source = parse(
        """g (float[1,4] x, bool p) => (float[4] y)
        { y = If(p) < then_branch = t () => (float[4] u) { [sq] u = Squeeze<axes = [0]>(x) },
                      else_branch = e () => (float[4] v) { n = Neg(x)  v = Squeeze<axes = [0]>(n) } > }""",
        opset=11,
    )  # fmt: skip
    source.graph.node[0].attribute[0].g.node[0].doc_string = "kept"
    result, _ = apply(PASS, source)
    inner = result.graph.node[0].attribute[0].g.node[0]
    assert (inner.name, len(inner.input), len(inner.attribute)) == ("sq", 2, 0)
    assert inner.doc_string == "kept"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("y = Add<broadcast = 1, axis = 1>(x, v)", "<float[3,1,1] v> y = Add(x, v)"),
        ("y = Mul<broadcast = 1>(x, s)", "<float s> y = Mul(x, s)"),
        ("y = PRelu(x, v)", "<float[3,1,1] v> y = PRelu(x, v)"),
        ("y = Dropout<is_test = 1>(x)", "<> y = Dropout(x)"),
    ],
)
def test_opset_6(before: str, after: str) -> None:
    head = "g (float[1,3,4,5] x) => (float[1,3,4,5] y)"
    declared, _, node = after.partition("> ")
    check(
        PASS,
        f"{head} <float[3] v, float s> {{ {before} }}",
        f"{head} {declared + '>' if declared != '<' else ''} {{ {node} }}",
        opset=6,
        opset_after=13,
        run=False,
    )


def test_training_mode_of_opset_6_declines() -> None:
    source = parse("g (float[2] x) => (float[2] y) { [d] y = Dropout<is_test = 0>(x) }", opset=6)
    result, ctx = apply(PASS, source)
    assert opset_of(result) == 6
    assert "training mode" in ctx.journal.declines[0].reason


def test_the_target_may_need_more() -> None:
    source = parse("g (float[2,3] x) => (float[2,1] y) { y = ReduceMean<axes = [1]>(x) }")
    result, _ = apply(PASS, source, context(opset=18))
    assert opset_of(result) == 18
    assert len(result.graph.node[0].input) == 2


def test_never_lowered() -> None:
    source = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }", opset=17)
    result, _ = apply(PASS, source)
    assert opset_of(result) == 17


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("old", "node"),
    [(7, "Upsample<mode = M, scales = [1.0,1.0,2.0,3.0]>(x)"), (9, "Upsample<mode = M>(x, s)")],
)
def test_upsample(mode: str, old: int, node: str) -> None:
    nearest = ', nearest_mode = "floor"' if mode == "nearest" else ""
    check(
        PASS,
        f"""g (float[1,1,2,2] x) => (float[A,B,C,D] y) <float[4] s = {{1,1,2,3}}>
        {{ y = {node.replace("M", f'"{mode}"')} }}""",
        f"""g (float[1,1,2,2] x) => (float[A,B,C,D] y) <float[4] s = {{1,1,2,3}}, float[0] roi>
        {{ y = Resize<coordinate_transformation_mode = "asymmetric"{nearest}, mode = "{mode}">(x, roi, s) }}""",
        opset=old,
        opset_after=13,
    )


def test_softmax_over_several_axes_goes_through_the_converter() -> None:
    source = parse("g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax<axis = 1>(x) }", opset=9)
    result, ctx = apply(PASS, source)
    assert opset_of(result) == 13
    assert not ctx.journal.declines
    assert "Flatten" in [n.op_type for n in result.graph.node]
    same_outputs(source, result, 1e-6)


def test_decline_keeps_the_opset() -> None:
    source = parse(
        """g (float[1,4,3,3] x) => (float[1,4,3,3] y)
        <float[4] s, float[4] o, float[4] m, float[4] var>
        { [sq] q = Squeeze<axes = [0]>(x)  [un] t = Unsqueeze<axes = [0]>(q)
          [bn] y = BatchNormalization<spatial = 0>(t, s, o, m, var) }""",
        opset=7,
    )
    before = source.SerializeToString()
    result, ctx = apply(PASS, source)
    assert opset_of(result) == 7
    assert [len(n.input) for n in result.graph.node] == [1, 1, 5]
    (decline,) = ctx.journal.declines
    assert decline.node == "bn"
    assert "opset 7 stays: spatial=0 has no form" in decline.reason
    assert "try to export the model at opset 13" in decline.reason
    assert source.SerializeToString() == before


def test_bad_option() -> None:
    with pytest.raises(OptionError, match="no opset 999"):
        RaiseOpset(opset=999)
