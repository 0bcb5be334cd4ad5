"""Rules of runtimes that need not be installed: each broken once, and kept by the remedy."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

import onnxq
from onnxq.graph import Model
from onnxq.report.lint.run import lint
from onnxq.report.lint.runtimes import RUNTIMES
from tests.passes.golden import parse
from tests.report.coverage.broken import MATRIX, conv, group, matrix
from tests.report.foreign import FIXTURES, by_onnxruntime, float_model, samples

BIAS = "<axis = 0> (b, bs, bz)"
CHANNELS: dict[str, Any] = {"x": "ss, zz", "y": "ss, zz", "attributes": " <axis = 1>"}
SIGNED: dict[str, Any] = {"x": "s, i", "y": "t, i"}


def found(proto: onnx.ModelProto, runtime: str) -> set[str]:
    onnx.checker.check_model(proto)
    return {p.rule for p in lint(Model.load(proto), RUNTIMES[runtime])}


def free() -> onnx.ModelProto:
    return parse("g (float[N,4] x) => (float[N,4] y) { [relu] y = Relu (x) }")


def custom() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13, "mine": 1]> g (float[1] x) => (float[1] y)'
        " { [node] y = mine.Special (x) }"
    )


def transposed(axis: int) -> onnx.ModelProto:
    before = f"wd = DequantizeLinear <axis = {axis}> (w, ws, wz)"
    return group("ConvTranspose (xd, wd)", before=before, **SIGNED)


COMPUTED: dict[str, Any] = {"before": "sc = Abs (sx)", "inputs": ", float sx"}
OLD = parse("g (float[4] x) => (float[4] y) { [relu] y = Relu (x) }", opset=8)
FLOAT = group("Conv (x, wf)", **SIGNED)
HALF = group("MatMul (xd, mf)", kind=MATRIX, **SIGNED)
WHOLE = matrix(**SIGNED)

#: Runtime, rule, a model that breaks it, and one that breaks none.
CASES: list[tuple[str, str, onnx.ModelProto, onnx.ModelProto]] = [
    ("tensorrt", "opset", OLD, conv(**SIGNED)),
    ("tensorrt", "zero-point", conv(x="s, lowest", y="t, i"), conv(**SIGNED)),
    ("tensorrt", "type", conv(x="s, z0", y="t, z0"), conv(**SIGNED)),
    ("tensorrt", "bias", conv(bias=BIAS, **SIGNED), conv(**SIGNED)),
    ("tensorrt", "scale", conv(x="sc, i", y="t, i", **COMPUTED), conv(**SIGNED)),
    ("tensorrt", "activation-scales",
     conv(x="ss, wz", y="ss, wz", attributes=" <axis = 1>"), conv(**SIGNED)),
    ("tensorrt", "weight-axis", transposed(0), transposed(1)),
    ("tensorrt", "weight-axis", conv("<axis = 1> (w, ws, wz)", **SIGNED), conv(**SIGNED)),
    ("tensorrt", "half", HALF, WHOLE),
    ("tensorrt", "domain", custom(), conv(**SIGNED)),
    ("openvino", "domain", custom(), conv()),
    ("openvino", "half", group("Conv (x, wd)", before="wd = DequantizeLinear (w, s, i)"), conv()),
    ("openvino", "bits", conv("(w16, s, i16)", opset=21), conv(opset=21)),
    ("openvino", "scale", conv(bias=BIAS, x="sc, z", **COMPUTED), conv(bias=BIAS)),
    ("openvino", "activation-scales", conv(**CHANNELS), conv()),
    ("openvino", "int8-zero-point", conv(x="s, lowest", y="t, lowest"), conv(**SIGNED)),
    ("openvino", "weight-zero-point", conv("(w, s, lowest)"), conv()),
    ("openvino", "weight-axis", conv("<axis = 1> (w, ws, wz)"), conv()),
    ("qnn", "shape", free(), conv()),
    ("qnn", "operator", group("Erf (xd)"), conv()),
    ("qnn", "float", group("Conv (x, wf)"), conv()),
    ("qnn", "half", group("MatMul (xd, mf)", kind=MATRIX), matrix()),
    ("qnn", "type", conv(**SIGNED), conv()),
]  # fmt: skip


@pytest.mark.parametrize(("runtime", "rule", "broken", "kept"), CASES)
def test_rules(runtime: str, rule: str, broken: onnx.ModelProto, kept: onnx.ModelProto) -> None:
    assert found(broken, runtime) == {rule}
    assert not found(kept, runtime)


def test_every_rule_is_tried() -> None:
    tried = {(runtime, rule) for runtime, rule, _, _ in CASES}
    elsewhere = {("tensorrt", "operator"), ("openvino", "operator"), ("openvino", "integer")}
    assert tried | elsewhere == {(r.name, rule.name) for r in RUNTIMES.values() for rule in r.rules}


@pytest.mark.parametrize(
    ("kind", "runtime", "rules"),
    [
        ("qoperator", "tensorrt", {"operator", "domain"}),
        ("dynamic", "tensorrt", {"operator"}),
        ("qoperator", "openvino", {"operator", "domain"}),
        ("dynamic", "openvino", {"integer"}),
        ("qoperator", "qnn", {"operator", "shape"}),
    ],
)
def test_integer_operators(kind: str, runtime: str, rules: set[str], tmp_path) -> None:
    model = by_onnxruntime(
        float_model("digits_resnet"), samples("digits_resnet", 2), tmp_path, kind
    )
    assert found(model, runtime) >= rules


@pytest.mark.parametrize("target", ["tensorrt", "openvino"])
@pytest.mark.parametrize("name", ["digits_resnet", "digits_mobilenet"])
def test_what_onnxq_makes_for_a_runtime_keeps_its_rules(name: str, target: str) -> None:
    data = samples(name, 8)
    result = onnxq.quantize(float_model(name), data=data, target=target, recipe="fast")
    assert not lint(result.model, RUNTIMES[target])


def test_conversions_are_seen_across_moves() -> None:
    proto = onnx.load(FIXTURES / "digits_mobilenet.nncf.onnx")
    assert "half" not in found(proto, "openvino")  # a Flatten stands before the last layer


def test_problems_say_where_and_what_to_try() -> None:
    (problem, *_) = lint(Model.load(conv()), RUNTIMES["tensorrt"])
    assert (problem.node, problem.op_type) != ("", "")
    assert problem.why == "its zero point is 10"
    assert "--target tensorrt" in problem.remedy
