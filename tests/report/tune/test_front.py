from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from onnxq.report.html import to_html
from onnxq.report.tune.axes import Axis
from onnxq.report.tune.front import front
from onnxq.report.tune.plot import plot
from onnxq.report.tune.svg import to_svg
from onnxq.report.tune.terminal import render
from tests.report.chromium import Page, needs_chromium


def candidate(size: int, drop: float, integer: float = 100.0, **more: Any) -> dict[str, Any]:
    return {
        "name": f"fast, {size} × 4 bit", "recipe": "fast", "precisions": {"4": size}, "drop": drop,
        "sqnr_db": 40.0 - drop, "metric": None, "top1_agreement": 1.0, "bytes": size,
        "size_percent": float(size), "macs": {"8": integer}, "integer_percent": integer,
        "latency_ms": None, "speedup": None, "time_predicted": 0.5, "meets": drop < 3,
        "chosen": False, "front": True, **more,
    }  # fmt: skip


def section(**more: Any) -> dict[str, Any]:
    exact = candidate(100, 0.0, 0.0, sqnr_db=999.0)
    chosen = candidate(20, 2.0, chosen=True, name="<b>best</b>, 2 × 4 bit")
    return {
        "schema": "onnxq-tune/1", "budgets": ["drop at most 3"], "missed": [],
        "limits": {"sqnr_db": 37.0}, "drop": "noise in percent of the signal",
        "metric_float": None, "recipe": "fast", "skipped": {"best": "it was not needed"},
        "candidates": [
            candidate(10, 8.0), chosen, candidate(25, 9.0, front=False),
            candidate(30, 1.0, 60.0), exact,
        ],
        "predicted": [{"sqnr_db": 32.0, "size_percent": 10.0}, {"sqnr_db": 38.5,
                       "size_percent": 24.0}, {"sqnr_db": 999.0, "size_percent": 100.0}],
        "layers": [{"node": "conv<1>", "precision": "4", "macs": 5, "bytes": 10.0,
                    "bytes_float": 80.0, "noise_percent": 60.0, "alternatives": [],
                    "reason": "4 bits cost little: at 8 bits noise −50 %"}],
        "lacks": {"16": "no room"}, "in_time": True, "notes": ["7 were known"], **more,
    }  # fmt: skip


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6), st.sampled_from([50.0, 100.0]))))
def test_the_front_is_what_no_other_beats(values: list[tuple[int, int, float]]) -> None:
    found = front([candidate(size, drop, integer) for size, drop, integer in values])
    places = [(size, -integer, drop) for size, drop, integer in values]
    for i, mine in enumerate(places):
        better = any(
            all(a <= b for a, b in zip(o, mine, strict=True)) and o != mine for o in places
        )
        first = places.index(mine) == i
        assert (i in found) == (not better and first)


@pytest.mark.parametrize("values", [[16.6, 44.2], [3.0], [], [-2, 1e4]])
def test_ticks_are_round_and_inside(values: list[float]) -> None:
    axis = Axis.over(values)
    assert 1 <= len(axis.ticks) <= 12
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)
    assert all(0 <= axis.part(v) <= 1 for v in values)


def test_svg_is_whole_and_quotes_names() -> None:
    root = ElementTree.fromstring(to_svg(section()))
    dots = [e for e in root.iter() if e.tag.endswith("circle")]
    assert len(dots) == 4  # the exact one is off the scale
    kinds = sorted(e.get("class", "") for e in dots)
    assert kinds == ["dot beaten", "dot chosen", "dot front", "dot front part"]
    texts = ["".join(e.itertext()) for e in root.iter() if e.tag.endswith("text")]
    assert "<b>best</b>, 2 × 4 bit" in texts and "at least" in texts
    assert "<style>" not in to_svg(section(), alone=False)


def test_terminal_shows_front_plot_layers_and_notes() -> None:
    console = Console(width=100, record=True, force_terminal=False, file=None)
    with console.capture() as capture:
        render(section(), console)
    text = capture.get()
    lines = text.splitlines()
    assert any("◆" in line and "best" in line and "20.0 %" not in line for line in lines)
    assert sum("○" in line for line in lines) >= 2  # in the table and in the plot
    for part in ("drop at most 3", "exact", "conv<1>", "at 8 bits noise −50 %", "1 at 4 bits",
                 "16 bits were not offered: no room", "7 were known", "╌╌╌"):  # fmt: skip
        assert part in text, part
    narrow = plot(section(), width=30, height=6).plain
    assert max(map(len, narrow.splitlines()[:8])) <= 31


def report(tune: dict[str, Any]) -> dict[str, Any]:
    return {"schema": "onnxq-report/1", "model": "m", "summary": {"outputs": []}, "layers": [],
            "tune": tune}  # fmt: skip


def test_the_page_has_the_front_and_every_layer() -> None:
    page = to_html(report(section()))
    assert 'class="front-plot"' in page and "&lt;b&gt;best&lt;/b&gt;" in page
    assert "conv&lt;1&gt;" in page and "<b>best" not in page.split("<script")[0]
    assert "front-plot" not in to_html({**report(section()), "tune": None})
    by_metric = [c | {"metric": 90.0 - c["drop"]} for c in section()["candidates"]]
    assert '<th scope="col" class="num">Metric' in to_html(
        report(section(candidates=by_metric, metric_float=90.0, limits={"metric": 87.0}))
    )


@needs_chromium
def test_the_page_obeys_its_own_policy(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(to_html(report(section())), encoding="utf-8")
    with Page(tmp_path) as page:
        page.open(file)
        assert page.js("document.querySelectorAll('.front-plot circle').length") == 4
        dot = "getComputedStyle(document.querySelector('.front-plot .chosen')).fill"
        assert page.js(dot) == "rgb(180, 85, 45)"
        assert page.problems == []
