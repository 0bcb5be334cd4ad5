"""What does not fuse is taken back to float; coverage is reported, demanded and written down."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import onnxq
from onnxq.errors import ConditionError
from onnxq.report.coverage import check
from onnxq.report.gate import Conditions, gate
from onnxq.targets import OpRule, Role, get_target
from onnxq.testing import random_feeds
from tests.api.support import network, samples
from tests.passes.golden import parse

TEXT = """g (float[1,4,6,6] x) => (float[1,4,6,6] y)
    <float[4,4,3,3] w1, float[4,4,1,1] w2, float[4,4,1,1] w3>
    { [one] a = Conv <pads = [1,1,1,1]> (x, w1)  [tanh] t = Tanh (a)  [two] b = Conv (t, w2)
      [relu] r = Relu (b)  [three] y = Conv (r, w3) }"""
X86 = get_target("x86")
# a table that is wrong: ONNX Runtime has no such kernel
WRONG = replace(
    X86, rules={**X86.rules, "Tanh": OpRule(kernel="QLinearTanh", role=Role.ELEMENTWISE)}
)


def quantized(**options: object) -> onnxq.Result:
    source = parse(TEXT)
    given = {"target": WRONG, "recipe": "fast", **options}
    return onnxq.quantize(source, data=random_feeds(source, 12), **given)  # type: ignore[arg-type]


def test_what_does_not_fuse_goes_back_to_float_with_the_reason() -> None:
    result = quantized()
    kept = {e["node"]: e for e in result.report["kept_float"]}
    assert "no integer kernel for Tanh" in kept["tanh"]["reason"]
    assert not any("Q and DQ" in w for w in result.warnings)
    kinds = {n.node: n.kind for n in check(result.model, int8=False).nodes}
    assert kinds["tanh"] == "around"  # its neighbours hand on codes, and read codes
    assert {kinds[n] for n in ("one", "two", "three")} == {"integer"}
    assert result.report["unfused"] == []
    assert "tanh: float" in result.explain("tanh")
    (warning,) = [w for w in result.warnings if "went back to float" in w]
    assert "1 nodes" not in warning
    assert "tanh (there is no integer kernel for Tanh on the CPU)" in warning


def test_as_from_a_table_that_is_right() -> None:
    plain = quantized(target="x86")
    assert [n.op for n in quantized().model.nodes()] == [n.op for n in plain.model.nodes()]
    assert plain.report["summary"]["outputs"] == quantized().report["summary"]["outputs"]


def test_keep_unfused() -> None:
    result = quantized(keep_unfused=True)
    assert "tanh" in result.ctx.plan.nodes
    (warning,) = [w for w in result.warnings if "Q and DQ" in w]
    assert "tanh" in warning and "no integer kernel for Tanh" in warning
    (entry,) = result.report["unfused"]
    assert (entry["node"], entry["findings"][0]["rule"]) == ("tanh", "operator")
    assert result.report["summary"]["coverage"]["unfused"] == 1


def test_what_was_asked_for_stays() -> None:
    result = quantized(target="x86", activations="int16")
    assert set(result.ctx.plan.nodes) == {"one", "two", "three"}
    assert any("not 8 bit" in w for w in result.warnings)
    assert not any("went back" in w for w in result.warnings)
    assert result.report["summary"]["integer_macs_percent"] == 0


def test_other_targets_are_not_judged_by_the_cpu() -> None:
    for target in ("tensorrt", "openvino", "generic"):
        result = quantized(target=target)
        assert result.ctx.plan.nodes
        assert not any("Q and DQ" in w for w in result.warnings)


def test_arm_is_looked_at_as_arm() -> None:
    result = onnxq.quantize(network(), data=samples(), target="arm", recipe="fast")
    assert result.report["summary"]["coverage"]["unfused"] == 0
    assert {e["kernel"] for e in result.report["layers"]} >= {"QLinearConv", "QLinearAdd"}


def test_coverage_is_in_the_report_and_in_the_file() -> None:
    result = quantized()
    summary = result.report["summary"]
    assert summary["coverage"].keys() >= {
        "integer_nodes", "around_nodes", "float_nodes", "conversions", "unfused", "exposed",
    }  # fmt: skip
    written = json.loads(result.model.metadata["onnxq.coverage"])
    assert written["integer_macs_percent"] == summary["integer_macs_percent"] == 100
    assert written["runtime"].startswith("onnxruntime ")
    assert result.model.metadata["onnxq.target"] == "x86"
    assert check(result.model, int8=False).macs_percent == 100


def test_layers_that_may_saturate_are_reported() -> None:
    assert quantized().report["saturation"] == []
    exposed = quantized(target="x86-vnni").report["saturation"]
    assert {e["node"] for e in exposed} <= {"one", "two", "three"}
    assert exposed
    (text,) = [n for n in quantized(target="x86-vnni").report["notes"] if "saturate" in n]
    assert "--target x86" in text
    assert not any("saturate" in n for n in quantized().report["notes"])


def test_reasons_for_float_are_weighed() -> None:
    found = quantized(exclude=("two",)).report["summary"]
    (reason,) = found["coverage"]["float_reasons"]
    assert reason["reason"] == "excluded by 'two'"
    assert reason["macs_percent"] == pytest.approx(100 - found["integer_macs_percent"])


def test_coverage_can_be_demanded() -> None:
    assert quantized(require_coverage=100)
    with pytest.raises(ConditionError, match="below the 95 % required") as error:
        quantized(require_coverage=95, exclude=("two",))
    assert "excluded by 'two'" in error.value.why
    with pytest.raises(ConditionError, match=r"did not fuse: .* not 8 bit"):
        quantized(require_coverage=1, target="x86", activations="int16")


def test_demanded_and_gated_alike() -> None:
    result = quantized(exclude=("two",))
    share = result.report["summary"]["integer_macs_percent"]
    for limit in (share, share + 0.01):
        (found,) = gate(result.report, Conditions(min_coverage=limit))
        assert found.passed is (limit == share)
        if found.passed:
            quantized(exclude=("two",), require_coverage=limit)
        else:
            with pytest.raises(ConditionError):
                quantized(exclude=("two",), require_coverage=limit)


def test_arithmetic_on_shapes_is_not_called_kept_in_float() -> None:
    source = parse("""g (float[N,4,6,6] x) => (float[N,M] y)
        <float[4,4,3,3] w, int64[1] rest = {-1}, int64[1] zero = {0}>
        { [conv] a = Conv <pads = [1,1,1,1]> (x, w)  [shape] f = Shape (a)
          [first] s = Gather (f, zero)  [to] t = Concat <axis = 0> (s, rest)
          [flat] y = Reshape (a, t) }""")
    result = onnxq.quantize(source, data=random_feeds(source, 8), recipe="fast", target="x86")
    named = {e["node"] for e in result.report["kept_float"]}
    assert not named & {"shape", "first", "to"}
