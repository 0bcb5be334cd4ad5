"""The page in a real browser: it opens offline, sorts, filters, shows a layer, logs no error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnxq.report.html import to_html
from tests.report.chromium import Page, needs_chromium
from tests.report.sample import EVIL, bare, sample


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Path]]:
    folder = tmp_path_factory.mktemp("page")
    path = folder / "report.html"
    path.write_text(to_html(sample()), encoding="utf-8")
    with Page(folder) as page:
        yield page, path


def opened(browser: tuple[Page, Path], width: int = 1280, height: int = 900) -> Page:
    page, path = browser
    page.problems.clear()
    page.requests.clear()
    page.size(width, height)
    page.open(path)
    return page


def names(page: Page) -> list[int]:
    """Places of the rows that are seen, in their order."""
    rows = "[...document.querySelectorAll('#layers .list tbody tr')]"
    return list(page.js(f"{rows}.filter(r => !r.hidden).map(r => Number(r.dataset.i))"))


@needs_chromium
def test_it_opens_loads_nothing_and_logs_nothing(browser: tuple[Page, Path]) -> None:
    page = opened(browser)
    assert page.js("document.querySelector('h1').textContent")
    assert page.problems == []
    outside = [r for r in page.requests if not r.startswith(("file:", "data:", "about:"))]
    assert outside == []
    assert page.js("document.querySelectorAll('#depth canvas').length") >= 1


@needs_chromium
def test_it_sorts(browser: tuple[Page, Path]) -> None:
    page, layers = opened(browser), sample()["layers"]
    for key in ("isolated_sqnr_db", "cumulative_sqnr_db", "depth"):
        page.click(f"[data-sort={key}]")
        order = [layers[i][key] for i in names(page)]
        assert order in (sorted(order), sorted(order, reverse=True))
        page.click(f"[data-sort={key}]")
        assert [layers[i][key] for i in names(page)] == order[::-1]


@needs_chromium
def test_it_filters(browser: tuple[Page, Path]) -> None:
    page, layers = opened(browser), sample()["layers"]
    page.click("#find")
    page.type("gemm")
    found = names(page)
    assert found
    assert all("Gemm" in (layers[i]["node"] + layers[i]["op_type"]) for i in found)
    assert f"{len(found)} of {len(layers)}" in page.js(
        "document.querySelector('#shown').textContent"
    )


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_a_click_shows_a_layer_and_escape_closes_it(browser: tuple[Page, Path], width: int) -> None:
    page = opened(browser, width, 844)
    page.click("#layers .list tbody tr:nth-child(2) .pick")
    page.until("!document.querySelector('#detail').hidden")
    assert page.js("document.querySelectorAll('#detail canvas, #detail svg').length") >= 1
    page.key("Escape", 27)
    page.until("document.querySelector('#detail').hidden")
    assert page.problems == []
    assert page.js("document.documentElement.scrollWidth") <= width


@needs_chromium
def test_names_cannot_run_or_break_out(browser: tuple[Page, Path]) -> None:
    page = opened(browser)
    shown = page.js("[...document.querySelectorAll('#layers .pick')].map(e => e.title)")
    assert EVIL in shown
    assert page.js("document.scripts.length") == 2


@needs_chromium
def test_dark_and_light(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(to_html(sample(4)), encoding="utf-8")
    shades = []
    for dark in (False, True):
        with Page(tmp_path, dark=dark) as page:
            page.open(path)
            colour = page.js("getComputedStyle(document.body).backgroundColor")
            shades.append(sum(int(c) for c in colour.strip("rgba()").split(",")[:3]))
    assert shades[0] > 600 > 200 > shades[1]


@needs_chromium
def test_what_is_missing_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(to_html(bare()), encoding="utf-8")
    with Page(tmp_path) as page:
        page.open(path)
        assert page.problems == []


def test_it_is_one_small_file_that_holds_the_report() -> None:
    text = to_html(sample())
    assert len(text.encode()) < 5_000_000
    assert "http://" not in text.replace("http://www.w3.org", "")
    data = text.split('<script type="application/json" id="report">')[1].split("</script>")[0]
    assert {e["node"] for e in json.loads(data)["layers"]} == {
        e["node"] for e in sample()["layers"]
    }


def test_it_says_how_to_apply_what_is_recommended() -> None:
    report = sample()
    assert "--exclude-from REPORT.json" in to_html(report)
    report["recommendation"] = [{"node": "a", "action": "int16"}]
    assert "--activations int16" in to_html(report)
    assert "--exclude-from" not in to_html(report)
