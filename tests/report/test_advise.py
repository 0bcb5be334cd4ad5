from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest

from onnxq.api.finish import measured
from onnxq.errors import OptionError, UnsupportedModelError
from onnxq.report.advise import Effort, advise
from onnxq.report.spread import Spread
from onnxq.runtime.session import Session
from tests.report.test_sensitivity import plain


def report_on(effort: Effort, **options: Any) -> dict[str, Any]:
    result, feeds = plain()
    better = options.pop("better", 1.0)
    kept = Spread()
    errors = measured(result.original, result.model, result.ctx, kept.watch(feeds), (), full=True)
    assert errors.isolated is not None
    report = dict(result.report)
    for output in report["summary"]["outputs"]:
        output["noise_to_signal"] /= better
    for entry in report["layers"]:
        sums = errors.isolated.layer(entry["node"])
        entry["isolated_noise_to_signal"] = sums.noise_to_signal if sums else None
    advise(report, errors.isolated, kept, effort=effort, **options)
    return report


def ticking() -> Iterator[float]:
    return (float(i) for i in count())


def test_the_budget_is_kept_and_reported() -> None:
    whole = report_on(Effort(budget_s=1e9))
    assert whole["sensitivity"]["layers_measured"] == whole["sensitivity"]["layers"] == 4
    assert not whole["sensitivity"]["approximated"]
    assert all(e["effect"] for e in whole["layers"])
    assert not any("budget" in note for note in whole["notes"])
    ticks = ticking()
    part = report_on(Effort(budget_s=3.0, clock=lambda: next(ticks)))
    assert part["sensitivity"]["layers_measured"] == 1
    assert part["sensitivity"]["approximated"]
    assert part["sensitivity"]["budget_s"] == 3.0
    assert any("1 of 4 layers" in note and "3 s" in note for note in part["notes"])
    measured_ = [e for e in part["layers"] if e["effect"]]
    assert measured_ == part["layers"][:1], "the worst comes first"
    assert measured_[0]["effect"] == whole["layers"][0]["effect"]
    none = report_on(Effort(budget_s=0.0))
    assert none["sensitivity"]["layers_measured"] == 0
    assert none["recommendation"] == []


def test_layers_that_do_not_make_up_the_model_are_doubted() -> None:
    sound = report_on(Effort(budget_s=1e9), better=2.0)
    assert not any("wrong tensors" in w for w in sound["warnings"])
    report = report_on(Effort(budget_s=1e9), better=10.0)
    assert any("wrong tensors" in w for w in report["warnings"])
    assert report["recommendation"] == []


def test_of_many_layers_blocks_say_which_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.report.advise.MANY", 2)
    whole = report_on(Effort(budget_s=1e9))
    assert whole["sensitivity"]["method"].endswith("ordered by blocks of layers")
    assert all(e["effect"] and "estimated" not in e["effect"] for e in whole["layers"])
    alone = {e["node"]: e["effect"]["alone_sqnr_db"] for e in whole["layers"]}
    ticks = ticking()
    part = report_on(Effort(budget_s=12.0, clock=lambda: next(ticks)))
    marked = {e["node"]: e["effect"] for e in part["layers"] if e["effect"].get("estimated")}
    assert 1 <= len(marked) <= 3
    assert part["sensitivity"]["layers_measured"] == 4 - len(marked)
    for node, effect in marked.items():  # a block is one layer here
        assert effect["alone_sqnr_db"] == pytest.approx(alone[node], abs=0.01)
        assert effect["recovered_db"] is None
    measured_ = [n for n in alone if n not in marked]
    assert max(alone[n] for n in measured_) <= min(alone[n] for n in marked)


def test_the_same_twice() -> None:
    assert report_on(Effort(1e9)) == report_on(Effort(1e9))


def test_a_metric_of_the_user() -> None:
    def largest(real: Any, other: Any) -> float:
        return float(np.abs(other["y"] - real["y"]).max())

    report = report_on(Effort(1e9, largest))
    found = report["sensitivity"]["metric"]
    assert found["name"] == "largest"
    assert found["float"] == 0
    assert found["quantized"] > 0
    result, feeds = plain()
    sessions = [Session(m, threads=1, qdq=False) for m in (result.original, result.model)]
    expected = np.mean([largest(*(s.run(f) for s in sessions)) for f in feeds])
    assert found["quantized"] == pytest.approx(expected, rel=1e-3)
    for entry in report["layers"]:
        assert entry["effect"]["alone_metric"] > 0
        assert entry["effect"]["without_metric"] > 0


def test_a_layer_with_more_than_its_share_of_layers_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onnxq.report.advise.LAYERS", 3)
    report = report_on(Effort())
    assert report["sensitivity"] is None
    assert any("4 layers are more than 3" in note for note in report["notes"])


def test_a_metric_that_fails_is_the_users_error() -> None:
    def broken(real: Any, other: Any) -> float:
        return float(real["nothing"])

    with pytest.raises(OptionError, match="metric failed") as caught:
        report_on(Effort(1e9, broken))
    assert "KeyError" in str(caught.value.why)


def test_what_cannot_run_leaves_the_rest_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> Any:
        raise UnsupportedModelError("no", why="it is refused")

    monkeypatch.setattr("onnxq.report.advise.Sensitivity", refuse)
    report = report_on(Effort())
    assert report["sensitivity"] is None
    assert report["layers"]
    assert any("it is refused" in note for note in report["notes"])
