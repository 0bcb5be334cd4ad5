"""The demonstration: what it finds, what it writes, what it shows."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from onnxq.cli.app import app
from onnxq.demo import DemoResult, run_demo
from onnxq.errors import OutputError


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    return run_demo(tmp_path_factory.mktemp("demo") / "new" / "folder")


def test_accuracy_is_kept_and_size_is_not(result: DemoResult) -> None:
    assert result.accuracy_float >= 0.95
    assert result.accuracy_quantized >= result.accuracy_float - 0.02
    assert result.images == 500
    assert result.bytes_quantized < 0.5 * result.bytes_float


def test_shows_the_five_worst_layers_in_order(result: DemoResult) -> None:
    assert len(result.worst) == 5
    assert list(result.worst) == result.report["layers"][:5]
    names = {node.name for node in onnx.load(result.files["float model"]).graph.node}
    assert {layer["node"] for layer in result.worst} <= names


def test_writes_what_it_says(result: DemoResult) -> None:
    assert result.bytes_quantized == result.files["quantized model"].stat().st_size
    onnx.checker.check_model(str(result.files["quantized model"]), full_check=True)
    report = json.loads(result.files["report"].read_text(encoding="utf-8"))
    assert report["schema"] == "onnxq-report/1"
    assert result.files["calibration data"].is_file()


def test_replaces_a_former_demo(result: DemoResult) -> None:
    folder = result.files["report"].parent
    before = result.files["quantized model"].read_bytes()
    run_demo(folder)
    assert result.files["quantized model"].read_bytes() == before


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        run_demo(tmp_path / "file" / "demo")


def test_command_shows_both_sides(tmp_path: Path) -> None:
    out = tmp_path / "here"
    done = CliRunner().invoke(app, ["demo", "--out", str(out)], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    for text in ("accuracy", "size", "of float", "The five worst layers", "quantized model"):
        assert text in done.output
    assert "report.json" in done.output


def test_command_as_json(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "a"), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["accuracy_float"] >= 0.95
    assert len(found["worst"]) == 5
    assert all(Path(path).is_file() for path in found["files"].values())


def test_quiet_is_quiet(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "a"), "--quiet"])
    assert done.exit_code == 0
    assert done.output == ""
