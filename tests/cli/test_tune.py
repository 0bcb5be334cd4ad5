from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from onnxq.cli.failures import run
from onnxq.testing import random_feeds
from tests.contract.models import build


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model, data and a metric to work on."""
    proto = build("residual")
    onnx.save(proto, tmp_path / "residual.onnx")
    feeds = random_feeds(proto, 20)
    np.savez(tmp_path / "samples.npz", x=np.concatenate([f["x"] for f in feeds]))
    (tmp_path / "score_residual.py").write_text(
        "import numpy as np\n"
        "def mean(run):\n"
        "    x = np.load('samples.npz')['x'][:1]\n"
        "    return float(run({'x': x})['y'].mean())\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


BASE = ["tune", "residual.onnx", "-o", "out.onnx", "--data", "samples.npz", "--recipe", "fast",
        "--target", "x86", "--jobs", "1"]  # fmt: skip


def err(capsys) -> str:
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_it_writes_all_that_it_says(folder, capsys) -> None:
    assert run([*BASE, "--min-sqnr", "15", "--plot", "front.svg", "--report", "r.html",
                "--report", "r.json"]) == 0  # fmt: skip
    shown = capsys.readouterr().out
    for part in ("Candidates", "◆", "Layers", "conv1", "SQNR at least 15 dB", "out.onnx.toml",
                 "out.onnx.tune.jsonl", "front.svg"):  # fmt: skip
        assert part in shown, part
    section = json.loads((folder / "r.json").read_text("utf-8"))["tune"]
    assert section["schema"] == "onnxq-tune/1" and section["missed"] == []
    assert "front-plot" in (folder / "r.html").read_text("utf-8")
    assert (folder / "front.svg").read_text("utf-8").startswith("<svg")
    base = ["quantize", "residual.onnx", "--data", "samples.npz", "--target", "x86", "--quiet"]
    assert run([*base, "--recipe", "out.onnx.toml", "-o", "again.onnx"]) == 0
    assert (folder / "again.onnx").read_bytes() == (folder / "out.onnx").read_bytes()


def test_it_goes_on_with_its_journal(folder, capsys) -> None:
    assert run([*BASE, "--min-sqnr", "15", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["tune"]
    lines = (folder / "out.onnx.tune.jsonl").read_text("utf-8").splitlines()
    # as if interrupted: the last line is cut short
    (folder / "out.onnx.tune.jsonl").write_text("\n".join(lines)[:-30])
    assert run([*BASE, "--min-sqnr", "15", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["tune"]
    assert f"{len(lines) - 1} measurements were taken from the journal" in again["notes"]
    timeless = [{k: v for k, v in c.items() if k != "seconds"} for c in again["candidates"]]
    assert timeless == first["candidates"]


def test_budgets_that_cannot_be_met_end_with_4_and_write_no_model(folder, capsys) -> None:
    assert run([*BASE, "--max-size", "1%", "--precisions", "8,4", "--quiet"]) == 4
    assert "no candidate keeps to all budgets" in err(capsys)
    assert not (folder / "out.onnx").exists() and not (folder / "out.onnx.toml").exists()


def test_a_metric_by_name(folder, capsys) -> None:
    assert run([*BASE, "--max-drop", "5", "--metric", "score_residual:mean", "--json"]) == 0
    section = json.loads(capsys.readouterr().out)["tune"]
    assert section["drop"] == "metric"
    chosen = next(c for c in section["candidates"] if c["chosen"])
    assert chosen["drop"] == pytest.approx(section["metric_float"] - chosen["metric"])


def test_latency_is_measured(folder, capsys, monkeypatch) -> None:
    monkeypatch.setattr("onnxq.api.tune.latency.SECONDS", 0.05)
    assert run([*BASE, "--max-latency", "1000", "--json"]) == 0
    section = json.loads(capsys.readouterr().out)["tune"]
    assert all(0 < c["latency_ms"] < 1000 and c["speedup"] > 0 for c in section["candidates"])


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ([], "nothing to keep to"),
        (["--max-size", "small"], "'small' is no size"),
        (["--max-drop", "1", "--precisions", "8,5"], "precision '5'"),
        (["--max-drop", "1", "--metric", "nowhere:f"], "cannot be imported"),
    ],
)
def test_refusals(folder, capsys, options: list[str], part: str) -> None:
    assert run([*BASE, *options]) == 2
    assert part in err(capsys)
