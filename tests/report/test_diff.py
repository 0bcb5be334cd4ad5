"""Two reports: what changed, matched by name, and why a comparison may not be fair."""

from rich.console import Console

from onnxq.report.diff import diff
from onnxq.report.diff_text import render, to_markdown
from tests.report.sample import sample


def changed():
    before, after = sample(), sample()
    after["layers"][0]["isolated_sqnr_db"] -= 5.0
    after["layers"][1]["isolated_sqnr_db"] += 3.0
    after["layers"][2]["isolated_sqnr_db"] += 0.1
    after["layers"][3]["kernel"] = None
    gone = after["layers"].pop()
    new = dict(gone, node="new")
    after["layers"].append(new)
    return before, after, gone


def test_what_changed():
    before, after, gone = changed()
    found = diff(before, after)
    assert [(c.name, round(c.gain, 3)) for c in found.worse] == [(before["layers"][0]["node"], -5)]
    assert [(c.name, round(c.gain, 3)) for c in found.better] == [(before["layers"][1]["node"], 3)]
    assert found.same == len(before["layers"]) - 3
    assert [c.name for c in found.kernels] == [before["layers"][3]["node"]]
    assert (found.only_before, found.only_after) == ([gone["node"]], ["new"])
    assert found.notes == []
    assert found.to_json()["better"][0]["gain_db"] > 2.9


def test_unlike_reports_are_compared_by_what_both_have_and_it_is_said():
    before, after = sample(), sample()
    for entry in after["layers"]:
        entry["isolated_sqnr_db"] = None
    after["target"] = "other"
    after["data"] = dict(after["data"], digest="ff")
    found = diff(before, after)
    assert found.measure == "cumulative_sqnr_db"
    assert not found.worse and not found.better
    assert len(found.notes) == 2


def test_texts():
    before, after, gone = changed()
    found = diff(before, after)
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    render(found, console)
    text = console.export_text()
    for part in ("Worse", "-5.0", "Better", "+3.0", "ran as", "only before"):
        assert part in text
    marked = to_markdown(found)
    assert "| -5.0 |" in marked
    assert gone["node"].split("/")[-1] in marked
