"""``onnxq bench``, and speed in ``onnxq quantize``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq.cli.failures import run
from onnxq.testing import random_feeds
from tests.contract.models import build


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two models of the same inputs with a free batch, and data."""
    proto = build("conv-bn-relu")
    onnx.save(proto, tmp_path / "a.onnx")
    onnx.save(proto, tmp_path / "b.onnx")
    feeds = random_feeds(proto, 12)
    np.savez(tmp_path / "x.npz", x=np.concatenate([f["x"] for f in feeds]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_for_people(folder, capsys) -> None:
    assert run(["bench", "a.onnx", "b.onnx", "--rounds", "8", "--threads", "1"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in ("8 rounds, batch 1, 1 thread", "p50 ms", "a.onnx", "b.onnx", " ×", "Conv",
                 "Where the time goes a.onnx, b.onnx"):  # fmt: skip
        assert part in text, part


def test_for_machines(folder, capsys) -> None:
    base = ["bench", "a.onnx", "b.onnx", "--rounds", "4", "--json"]
    assert run([*base, "--data", "x.npz", "--batch", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["batch"], found["data"]) == ("onnxq-bench/1", 3, "x.npz")
    assert found["rounds"] == 4
    assert found["models"][1]["operators"][0].keys() >= {"operator", "first_ms", "second_ms"}
    assert run([*base, "--seconds", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == "random numbers"


def test_batches_and_threads(folder, capsys) -> None:
    base = ["bench", "a.onnx", "b.onnx", "--rounds", "4", "--batch", "1,3", "--threads", "1,2"]
    assert run([*base, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    settings = [(s["batch"], s["threads"]) for s in found["settings"]]
    assert settings == [(1, 1), (1, 2), (3, 1), (3, 2)]
    for setting in found["settings"]:
        for entry in setting["models"]:
            each = setting["batch"] / (entry["mean_ms"] / 1e3)
            assert entry["throughput_per_s"] == pytest.approx(each)
    assert run(base) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "batch 3, 2 threads" in text and "Where the time goes" not in text


def test_a_batch_that_the_model_fixes(folder, capsys) -> None:
    proto = onnx.load("b.onnx")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(proto, "fixed.onnx")
    for models, options in (
        (["fixed.onnx", "b.onnx"], []), (["a.onnx", "fixed.onnx"], ["--batch", "4"]),
        (["fixed.onnx", "a.onnx"], ["--batch", "4"]),
    ):  # fmt: skip
        assert run(["bench", *models, "--rounds", "4", "--json", *options]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["batch"] == 4
    assert run(["bench", "fixed.onnx", "b.onnx", "--rounds", "4", "--batch", "3"]) == 2


def test_the_table_fits_eighty_columns(folder, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = "a-network-with-quite-a-long-name.balanced.int8.onnx"
    Path("b.onnx").rename(long)
    assert run(["bench", "a.onnx", long, "--rounds", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    head = next(line for line in lines if line.startswith("model"))
    assert "p50 ms" in head and "p99 ms" in head and "a second" in head


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["a.onnx", "none.onnx"], 2, "none.onnx"),
        (["a.onnx", "a.onnx"], 2, "given twice"),
        (["a.onnx", "b.onnx", "--data", "none.npz"], 2, "none.npz"),
        (["a.onnx", "b.onnx", "--threads", "0"], 2, "whole numbers from 1 on"),
        (["a.onnx", "b.onnx", "--batch", "many"], 2, "--batch many"),
        (["a.onnx", "b.onnx", "--require-speedup", "1000"], 4, "below the 1000 required"),
    ],
)
def test_what_goes_wrong(folder, capsys, arguments, code, part) -> None:
    assert run(["bench", *arguments, "--rounds", "4"]) == code
    assert part in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_quantize_with_speed(folder, capsys) -> None:
    base = ["quantize", "a.onnx", "--data", "x.npz", "-o", "out.onnx", "--recipe", "fast"]
    assert run([*base, "--require-speedup", "1000"]) == 4
    assert not Path("out.onnx").exists()
    capsys.readouterr()
    assert run([*base, "--bench"]) == 0
    text = capsys.readouterr().out
    assert "float = 1" in text
