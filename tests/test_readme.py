"""What the README tells people to type works."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_snippets_run_in_order(folder: Path) -> None:
    found = blocks("python")
    assert len(found) == 3
    (folder / "snippets.py").write_text("\n".join(found), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "snippets.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5
    assert (folder / "resnet.int8.onnx").is_file()


def test_the_pass_has_at_most_20_lines() -> None:
    code = next(b for b in blocks("python") if "(Pass)" in b)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 20


def test_the_pass_does_what_it_says(folder: Path) -> None:
    import onnx.parser

    from onnxq import Context, Model
    from onnxq.targets import get_target

    space: dict[str, object] = {}
    exec(next(b for b in blocks("python") if "(Pass)" in b), space)
    text = """<ir_version: 8, opset_import: ["" : 13]>
        g (float[2] x) => (float[2] y) { a = Relu(x) b = Relu(a) y = Abs(b) }"""
    model = Model.load(onnx.parser.parse_model(text))
    space["MergeRepeated"]().run(model, Context(target=get_target("x86")))  # type: ignore[operator]
    assert [node.op_type for node in model.to_proto().graph.node] == ["Relu", "Abs"]


def test_shell_lines_run(folder: Path) -> None:
    found = [*blocks("sh"), *blocks("bash"), *blocks("console")]
    assert len(found) == 6
    for line in "".join(found).strip().splitlines():
        command = shlex.split(line)
        assert command[0] == "onnxq"
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert (folder / "resnet.int8.onnx").is_file()
    assert (folder / "report.json").is_file()
    assert (folder / "front.svg").is_file()


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler 'cc'")
def test_the_chain_to_c(folder: Path) -> None:
    (lines,) = blocks("shell")
    *commands, build = lines.strip().splitlines()
    for line in commands:
        command = shlex.split(line)
        assert command[0] == "onnxq"
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    done = subprocess.run(build, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "40 of 40 values equal" and done.stdout.strip() in README


def test_ci_runs_the_test_command_of_the_readme() -> None:
    command = 'python -m pip install -e ".[test]" && python -m pytest'
    assert command in README
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_files_and_commands_named_exist() -> None:
    for path in re.findall(r"`((?:models|tests|onnxq)/[\w/.]*)`", README):
        assert (ROOT / path).exists(), path
    from onnxq.cli.app import app

    known = {
        c.name or c.callback.__name__ for c in app.registered_commands if c.callback is not None
    }
    assert set(re.findall(r"\bonnxq (\w+)(?: [A-Z]+)?`", README)) <= known
