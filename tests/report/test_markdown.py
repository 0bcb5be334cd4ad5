"""Markdown for pull requests: complete, short, and nothing of a name is markup."""

from onnxq.report.markdown import code, escaped, to_markdown
from tests.report.sample import bare, sample


def test_it_says_what_matters():
    report = sample()
    text = to_markdown(report)
    worst = min(report["layers"], key=lambda e: e["isolated_sqnr_db"])
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert worst["node"] in next(r for r in rows if "QLinear" in r or "float" in r)
    assert "first thing to do" in text
    assert f"{worst['isolated_sqnr_db']:.1f}" in text
    assert text.endswith("\n")
    assert len(text) < 10_000


def test_tables_hold_whatever_names_there_are():
    report = sample()
    for i, entry in enumerate(report["layers"]):
        entry["node"] = f"a|b`c``{i}|\n"
    text = to_markdown(report)
    start = text.index("### Layers that lose most")
    table = [x for x in text[start:].split("\n\n")[1].splitlines() if x.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert len(table) == 14


def test_code_and_words():
    assert code("a`b") == "``a`b``"
    assert code("`a") == "`` `a ``"
    assert code("a|b\nc") == "`a\\|b c`"
    assert escaped("a*b_<c>") == "a\\*b\\_\\<c\\>"


def test_what_is_missing_is_left_out():
    assert "None" not in to_markdown(bare())
