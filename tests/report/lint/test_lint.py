"""Rules of runtimes that need not be installed: each broken once, and kept by the remedy."""

from __future__ import annotations

import onnx
import pytest

import onnxq
from onnxq.graph import Model
from onnxq.report.lint.run import lint
from onnxq.report.lint.runtimes import RUNTIMES
from onnxq.testing import random_feeds
from tests.passes.golden import parse
from tests.report.coverage.broken import conv
from tests.report.foreign import FIXTURES, by_onnxruntime, float_model, samples
from tests.report.lint.cases import CASES


def found(proto: onnx.ModelProto, runtime: str) -> set[str]:
    onnx.checker.check_model(proto)
    return {p.rule for p in lint(Model.load(proto), RUNTIMES[runtime])}


@pytest.mark.parametrize(("runtime", "rule", "broken", "kept"), CASES)
def test_rules(runtime: str, rule: str, broken: onnx.ModelProto, kept: onnx.ModelProto) -> None:
    assert found(broken, runtime) == {rule}
    assert not found(kept, runtime)


def test_every_rule_is_tried() -> None:
    tried = {(runtime, rule) for runtime, rule, _, _ in CASES}
    elsewhere = {
        ("tensorrt", "operator"), ("openvino", "operator"), ("openvino", "integer"),
        ("openvino", "conv-weight-type"),
    }  # fmt: skip
    assert tried | elsewhere == {(r.name, rule.name) for r in RUNTIMES.values() for rule in r.rules}


def test_convolutions_of_unsigned_weights_are_refused_where_the_result_is_quantized() -> None:
    assert found(conv("(wu, s, z0)"), "openvino") == {"conv-weight-type", "weight-type"}


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


def test_quantize_warns_of_what_its_runtime_computes_wrongly() -> None:
    text = """g (float[N,3,4,4] x) => (float[N,5,4,4] y) <float[3,3,1,1] w, float[5,5,1,1] v,
        int64[8] p = {0, 1, 0, 0, 0, 1, 0, 0}> {
        a = Conv (x, w)  [pad] b = Pad (a, p)  y = Conv (b, v) }"""
    proto = parse(text)
    warnings = {
        t: onnxq.quantize(proto, data=random_feeds(proto, 8), target=t, recipe="fast").warnings
        for t in ("openvino", "x86")
    }
    assert any("OpenVINO computes something else: 'pad'" in w for w in warnings["openvino"])
    assert not [w for w in warnings["x86"] if "OpenVINO" in w]


def test_conversions_are_seen_across_moves() -> None:
    proto = onnx.load(FIXTURES / "digits_mobilenet.nncf.onnx")
    assert "half" not in found(proto, "openvino")  # a Flatten stands before the last layer


def test_problems_say_where_and_what_to_try() -> None:
    (problem, *_) = lint(Model.load(conv()), RUNTIMES["tensorrt"])
    assert (problem.node, problem.op_type) != ("", "")
    assert problem.why == "its zero point is 10"
    assert "--target tensorrt" in problem.remedy
