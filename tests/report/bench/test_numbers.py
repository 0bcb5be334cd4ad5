"""Rounds, percentiles, ratios, batches and operators: all that needs no clock."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from onnxq.errors import DataError, OptionError
from onnxq.report.bench.feeds import BATCHES, batches
from onnxq.report.bench.operators import OperatorTime, family, side_by_side, why_slower
from onnxq.report.bench.rounds import LEAST, order, take_turns
from onnxq.report.bench.statistics import latency, speedup
from onnxq.runtime.profile import NodeTime
from onnxq.runtime.session import InputInfo


def test_two_models_go_a_b_b_a() -> None:
    assert [order(i, 2) for i in range(4)] == [[0, 1], [1, 0], [1, 0], [0, 1]]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_model_has_every_place_as_often(count: int) -> None:
    rounds = [order(i, count) for i in range(2 * count)]
    assert all(sorted(found) == [*range(count)] for found in rounds)
    for place in range(count):
        assert set(Counter(found[place] for found in rounds).values()) == {2}


class Clock:
    """Time that goes by only where a model runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[int, int]] = []

    def __call__(self) -> float:
        return self.now

    def model(self, index: int, seconds: float):
        def run(round_: int) -> float:
            self.calls.append((round_, index))
            self.now += seconds
            return seconds

        return run


def test_rounds_are_paired_and_the_warm_up_is_not_counted() -> None:
    clock = Clock()
    runs = [clock.model(0, 0.2), clock.model(1, 0.1)]
    times = take_turns(runs, rounds=5, warm_up=3, clock=clock)
    assert times.tolist() == [[0.2, 0.1]] * 5
    assert Counter(i for _, i in clock.calls) == {0: 8, 1: 8}
    assert [i for r, i in clock.calls[6:]] == [0, 1, 1, 0, 1, 0, 0, 1, 0, 1]


def test_seconds_end_it_but_not_before_the_fewest_rounds() -> None:
    for seconds, expected in ((0.0, LEAST), (30.0, 100)):
        clock = Clock()
        times = take_turns([clock.model(0, 0.3)], seconds=seconds, warm_up=0, clock=clock)
        assert len(times) == expected


def test_percentiles_and_throughput() -> None:
    found = latency(np.arange(1, 101) / 1000, batch=4)
    assert found["p50_ms"] == pytest.approx(50.5)
    assert found["p95_ms"] == pytest.approx(95.05)
    assert found["p99_ms"] == pytest.approx(99.01)
    assert found["throughput_per_s"] == pytest.approx(4 / 0.0505)


def test_the_ratio_is_that_of_pairs() -> None:
    # the machine gets slower: unpaired medians would say nothing
    load = np.linspace(1, 50, 101)
    found = speedup(2 * load, load)
    assert (found.low, found.median, found.high) == (2.0, 2.0, 2.0)


def test_the_interval_covers_the_true_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        ratios = np.exp(rng.standard_normal(60))  # the median is 1
        found = speedup(ratios, np.ones(60))
        assert found.low <= found.median <= found.high
        covered += found.low <= 1.0 <= found.high
    assert 930 <= covered <= 990


def test_one_round() -> None:
    found = speedup(np.array([3.0]), np.array([2.0]))
    assert (found.low, found.median, found.high) == (1.5, 1.5, 1.5)


def infos(first: int | str) -> list[InputInfo]:
    return [
        InputInfo("x", np.dtype(np.float32), (first, 2)),
        InputInfo("state", np.dtype(np.float32), (3,)),
        InputInfo("rate", np.dtype(np.float32), ()),
    ]


def feeds(count: int) -> list[dict[str, np.ndarray]]:
    state, rate = np.zeros(3, np.float32), np.float32(8)
    return [
        {"x": np.full((1, 2), i, np.float32), "state": state, "rate": np.array(rate)}
        for i in range(count)
    ]


def test_batches_are_samples_put_together() -> None:
    found = batches(feeds(8), infos("N"), 3)
    assert [f["x"][:, 0].tolist() for f in found] == [[0, 1, 2], [3, 4, 5], [6, 7, 0]]
    assert all(f["state"].shape == (3,) and f["rate"].shape == () for f in found)
    assert len(batches(feeds(100), infos("N"), 2)) == BATCHES
    assert [f["x"].shape for f in batches(feeds(2), infos("N"), 5)] == [(5, 2)]
    assert [f["x"].shape for f in batches(feeds(2), infos(1), 1)] == [(1, 2), (1, 2)]


def test_batches_that_cannot_be() -> None:
    with pytest.raises(OptionError, match="--batch 4"):
        batches(feeds(4), [infos(1)[0], infos(1)[1]], 4)
    with pytest.raises(DataError, match="no sample"):
        batches([], infos("N"), 1)


def test_operators_are_called_as_in_float() -> None:
    names = ("QLinearConv", "FusedConv", "QGemm", "QLinearAdd", "NhwcMaxPool", "ReorderInput")
    assert [*map(family, names)] == ["Conv", "Conv", "Gemm", "Add", "MaxPool", "layout"]
    for name in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
        assert family(name) == "Q and DQ"


def test_side_by_side_and_why() -> None:
    first = [
        NodeTime("a", "Conv", 3e-3),
        NodeTime("b", "FusedConv", 1e-3),
        NodeTime("c", "Add", 2e-3),
    ]
    second = [NodeTime("a", "QLinearConv", 2e-3), NodeTime("c", "QLinearAdd", 2.5e-3),
              NodeTime("q", "QuantizeLinear", 1e-3)]  # fmt: skip
    rows = side_by_side(first, second)
    assert rows[0] == OperatorTime("Conv", pytest.approx(4), pytest.approx(2), 2, 1)
    assert [r.operator for r in rows] == ["Conv", "Add", "Q and DQ"]
    assert why_slower(rows) == "Q and DQ 1 ms that float does not need, Add 2 → 2.5 ms"
    assert why_slower(side_by_side(first, [])) == ""
