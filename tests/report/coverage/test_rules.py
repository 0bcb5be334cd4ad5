"""Each rule of fusion: what breaks it does not fuse in ONNX Runtime, its remedy makes it fuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.errors import DataError
from onnxq.graph import Model
from onnxq.report.coverage import Coverage, check
from onnxq.report.coverage.hazards import HAZARDS
from onnxq.report.coverage.rules import RULES
from onnxq.runtime.session import Session
from onnxq.testing import random_feeds
from tests.report.coverage.broken import BROKEN, HAZARDOUS, READ_X, conv


def checked(proto: onnx.ModelProto) -> Coverage:
    onnx.checker.check_model(proto)
    return check(Model.load(proto), int8=False)


def outcome(coverage: Coverage) -> Any:
    return next(n for n in coverage.nodes if n.node == "node")


@pytest.mark.parametrize(("rule", "broken", "_fixed"), BROKEN)
def test_what_breaks_a_rule_does_not_fuse_and_the_rule_is_named(rule, broken, _fixed) -> None:
    found = checked(broken)
    assert outcome(found).kind == "around", outcome(found)
    unfused = {u.node: u for u in found.unfused}
    rules = [f.rule for f in unfused["node"].findings]
    assert rules == [rule], [f.why for f in unfused["node"].findings]
    assert all(f.why and f.remedy for f in unfused["node"].findings)


@pytest.mark.parametrize(
    ("rule", "_broken", "fixed"), [case for case in BROKEN if case[2] is not None]
)
def test_with_its_remedy_it_fuses(rule, _broken, fixed) -> None:
    found = checked(fixed)
    assert outcome(found).kind == "integer", outcome(found)
    assert "node" not in [u.node for u in found.unfused]
    assert not found.hazards


def test_every_rule_is_tried() -> None:
    assert {rule for rule, _, _ in BROKEN} | {"weight-type"} == {r.name for r in RULES}
    assert {rule for rule, _, _ in HAZARDOUS} | {"weight-blocks"} == {r.name for r in HAZARDS}


def test_arm_has_kernels_for_int8_with_int8_weights_only() -> None:
    wrong = conv("(wu, s, z)", x="s, i", y="t, i", **READ_X)
    right = conv(x="s, i", y="t, i", **READ_X)
    found = check(Model.load(wrong), int8=True)
    assert [f.rule for f in found.unfused[0].findings] == ["weight-type"]
    assert outcome(check(Model.load(right), int8=True)).kind == "integer"
    assert outcome(check(Model.load(right), int8=False)).kind == "around"


def test_blocks_of_a_weight_stop_the_kernel() -> None:
    weight = "<axis = 1, block_size = 2> (w, wb, zb)"
    found = checked(conv(weight, opset=21))
    assert [h.finding.rule for h in found.hazards] == ["weight-blocks"]
    assert difference(conv(weight, opset=21)) is None


def difference(proto: onnx.ModelProto) -> float | None:
    """Largest difference that fusing makes; None where the fused model stops."""
    feed = random_feeds(proto, 1)[0]
    try:
        fused = Session(proto).run(feed)
    except DataError:
        return None
    exact = Session(proto, qdq=False).run(feed)
    return max(float(np.abs(fused[n] - exact[n]).max()) for n in exact)


@pytest.mark.parametrize(("hazard", "wrong", "right"), HAZARDOUS)
def test_hazards_compute_something_else(hazard, wrong, right) -> None:
    found = checked(wrong)
    assert [(h.node, h.finding.rule) for h in found.hazards] == [("node", hazard)]
    off = difference(wrong)
    assert off is None or off > 0.3  # more than a step of 0.2
    assert not checked(right).hazards
    assert difference(right) <= 0.21
