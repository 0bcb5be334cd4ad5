from __future__ import annotations

import json

import onnx
import pytest

from onnxq.cli.failures import run
from onnxq.cli.files import check_output, check_report, replace_file, write_report
from onnxq.errors import OptionError, OutputError
from onnxq.pipeline.recipe import Recipe
from onnxq.pipeline.registry import all_passes
from tests.contract.models import build


def as_json(capsys, *arguments: str) -> object:
    assert run([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def test_passes(capsys) -> None:
    rows = as_json(capsys, "passes")
    assert [r["name"] for r in rows] == list(all_passes())
    assert run(["passes"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in all_passes())


def test_explain(capsys) -> None:
    found = as_json(capsys, "explain", "fuse-batchnorm")
    assert found["sections"]["When it declines"]
    assert run(["explain", "choose-ranges"]) == 0
    text = capsys.readouterr().out
    for part in ("choose-ranges", "Why", "Numerics", "Options", "method"):
        assert part in text


def test_targets(capsys) -> None:
    found = as_json(capsys, "targets")
    assert found["auto"] in [t["name"] for t in found["targets"]]
    assert run(["targets"]) == 0
    assert "auto here:" in capsys.readouterr().out


def test_recipe(capsys, tmp_path) -> None:
    text = 'fuse-batchnorm,exclude-nodes{patterns=("op:Add","a, b")}'
    assert as_json(capsys, "recipe", text) == {
        "recipe": ["fuse-batchnorm", 'exclude-nodes{patterns=(op:Add,"a, b")}']
    }
    assert run(["recipe", text, "--toml"]) == 0
    path = tmp_path / "mine.toml"
    path.write_text(capsys.readouterr().out, "utf-8")
    assert Recipe.load(path) == Recipe.parse(text)
    assert run(["recipe", str(path)]) == 0
    assert "fuse-batchnorm" in capsys.readouterr().out


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(build("conv-bn-relu"), path)
    return path


def test_run(capsys, tmp_path, model) -> None:
    out = tmp_path / "out.onnx"
    arguments = ["run", str(model), "--passes", "fuse-batchnorm", "-o", str(out)]
    found = as_json(capsys, *arguments)
    assert found["passes"][0]["pass"] == "fuse-batchnorm"
    assert found["passes"][0]["nodes_removed"] == 1
    assert [n.op_type for n in onnx.load(out).graph.node] == ["Conv", "Relu"]
    assert run(arguments) == 0
    assert "fuse-batchnorm" in capsys.readouterr().out
    assert run([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_run_refuses_to_overwrite_its_input(capsys, model) -> None:
    before = model.read_bytes()
    assert run(["run", str(model), "--passes", "fuse-batchnorm", "-o", str(model)]) == 2
    assert "is an input of this command" in " ".join(
        capsys.readouterr().err.replace("│", " ").split()
    )
    assert model.read_bytes() == before


def test_inspect(capsys, model) -> None:
    recipe = "name-nodes,fuse-batchnorm,plan-kernels"
    found = as_json(capsys, "inspect", str(model), "--target", "x86", "--recipe", recipe)
    (conv,) = [n for n in found["nodes"] if n["op_type"] == "Conv"]
    assert conv["kernel"] == "QLinearConv"
    assert conv["macs"] == 4 * 8 * 8 * 3 * 3 * 3
    assert conv["weight_bytes"] == 4 * (4 * 3 * 3 * 3 + 4)
    assert run(["inspect", str(model), "--recipe", recipe, "--nodes"]) == 0
    text = capsys.readouterr().out
    assert "6.91 k" in text
    assert "QLinearConv" in text


def test_outputs_are_checked_before_the_work(tmp_path) -> None:
    check_output(tmp_path / "new.onnx")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path)
    with pytest.raises(OutputError, match="does not exist"):
        check_output(tmp_path / "no" / "new.onnx")
    with pytest.raises(OptionError, match="is none"):
        check_report(tmp_path / "report.txt")


def test_a_file_is_written_whole_or_not_at_all(tmp_path) -> None:
    path = tmp_path / "r.json"
    write_report({"a": "ü"}, path)
    assert json.loads(path.read_text("utf-8")) == {"a": "ü"}

    def half(part) -> None:
        part.write_text("half", "utf-8")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        replace_file(path, half)
    assert json.loads(path.read_text("utf-8")) == {"a": "ü"}
    assert list(tmp_path.iterdir()) == [path]
