from __future__ import annotations

from collections.abc import Iterator
from threading import Event, current_thread, main_thread
from typing import Any, cast

import numpy as np
import pytest

import onnxq
from onnxq.report import ahead
from onnxq.report.ahead import AsTheyAre, some
from onnxq.report.cumulative import Deployed
from tests.api.support import network, samples


class Doubled:
    """Stands for a model: twice its input, after so many samples it is enough."""

    def __init__(self, most: int, enough: Event) -> None:
        self.most, self.enough, self.ran = most, enough, 0

    def run(self, feed: Any) -> dict[str, Any]:
        self.ran += 1
        if self.ran >= self.most:
            self.enough.set()
        return {"y": 2 * feed["x"], "none": None}


def models(most: int, enough: Event) -> AsTheyAre:
    return AsTheyAre(cast(Deployed, Doubled(most, enough)), None)


FEEDS = [{"x": np.full(4, i, np.float32)} for i in range(6)]


def test_runs_in_order_until_it_is_enough() -> None:
    enough = Event()
    found = models(3, enough).ahead(FEEDS, enough)
    assert [r.feed["x"][0] for r in found] == [0, 1, 2]
    assert [r.other["y"][0] for r in found] == [0, 2, 4]
    assert found[0].user is None
    assert not models(3, enough).ahead(FEEDS, enough)


def test_holds_no_more_bytes_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "BYTES", 40)
    assert len(models(9, Event()).ahead(FEEDS, Event())) == 3
    assert len(some(iter(FEEDS), 6)) == 3
    assert len(some(iter(FEEDS), 2)) == 2


@pytest.mark.parametrize("most", [1, 16])
def test_report_is_the_same_however_many_run_ahead(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def feeds() -> Iterator[Any]:
        for feed in samples():
            assert current_thread() is main_thread()
            yield feed

    expected = onnxq.quantize(network(), data=samples(), target="x86").report
    monkeypatch.setattr("onnxq.report.measure.SAMPLES", most)
    monkeypatch.setattr("onnxq.report.measure.shares", lambda _: (2, 1))
    found = onnxq.quantize(network(), data=feeds, target="x86").report
    assert found["layers"] == expected["layers"]
    assert found["summary"] == expected["summary"]
