from __future__ import annotations

import re

import pytest

from onnxq.api.tune.budgets import Budgets, shares, size
from onnxq.api.tune.candidate import Candidate, Measured
from onnxq.errors import OptionError, UnknownNameError
from onnxq.pipeline import Recipe

FOUND = Measured(
    noise=0.01, sqnr_db=20.0, drop=1.0, bytes=400, macs={"8": 60.0, "float": 40.0}, seconds=1.0,
    latency_ms=5.0, speedup=1.5,
)  # fmt: skip


@pytest.mark.parametrize(
    ("budgets", "part"),
    [
        (Budgets(max_drop=0.5), "the drop is 1, above 0.5"),
        (Budgets(min_sqnr=25), "20.0 dB, below 25"),
        (Budgets(max_size=399), "400 B, above 399 B"),
        (Budgets(max_macs={"float": 10.0}), "40.0 % .* at float, above 10"),
        (Budgets(min_macs={"4": 5.0}), "0.0 % .* at 4, below 5"),
        (Budgets(max_latency=4), "5 ms, above 4"),
        (Budgets(min_speedup=2), "1.50 times as fast as float, below 2"),
    ],
)
def test_each_budget_is_missed(budgets: Budgets, part: str) -> None:
    (text,) = budgets.missed(FOUND)
    assert re.search(part, text)
    assert budgets.any and len(budgets.texts()) == 1
    assert budgets.excess(FOUND) > 0


def test_budgets_are_kept() -> None:
    kept = Budgets(
        max_drop=1.0, min_sqnr=20, max_size=400, max_macs={"float": 40.0}, min_macs={"8": 60.0},
        max_latency=5, min_speedup=1.5,
    )  # fmt: skip
    assert kept.missed(FOUND) == [] and kept.excess(FOUND) == 0 and kept.accuracy and kept.timed
    assert not Budgets().any


@pytest.mark.parametrize(
    ("text", "count"), [("30%", 300), (30, 300), ("400B", 400), ("1.5 kB", 1500), ("2MB", 2e6)]
)
def test_sizes(text: str | float, count: float) -> None:
    assert size(text, 1000) == count


def test_refusals() -> None:
    with pytest.raises(OptionError, match="no size"):
        size("small", 1000)
    with pytest.raises(UnknownNameError, match="Try: float"):
        shares(["fload=3"], "max_macs")
    with pytest.raises(OptionError, match="no PRECISION=PERCENT"):
        shares(["float"], "max_macs")
    assert shares(["float=10%", "4=5"], "max_macs") == {"float": 10.0, "4": 5.0}


def test_patterns_match_one_node_alone() -> None:
    candidate = Candidate.of("fast", {"a*[0]": "4", "op:x.y": "float", "plain": "8"})
    (chosen,) = (p for p in candidate.put_into(Recipe.resolve("fast")).passes
                 if p.name == "set-precision")  # fmt: skip
    assert chosen.layers == ("a[*][[]0]=4", r"re:op:x\.y=float")  # type: ignore[attr-defined]
    assert candidate.counts() == {"4": 1, "float": 1}
