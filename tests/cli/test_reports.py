"""Reports on the command line: every format, gate and diff."""

import json
import subprocess
import sys

import pytest

from tests.report.sample import sample


def onnxq(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "onnxq", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    (folder / "a.json").write_text(json.dumps(sample()), encoding="utf-8")
    worse = sample()
    worse["layers"][0]["isolated_sqnr_db"] -= 9.0
    (folder / "b.json").write_text(json.dumps(worse), encoding="utf-8")
    (folder / "other.json").write_text('{"schema": "x"}', encoding="utf-8")
    return folder


def test_gate(folder):
    assert onnxq("gate", "a.json", "--min-sqnr", "1", cwd=folder).returncode == 0
    failed = onnxq("gate", "a.json", "--min-sqnr", "900", cwd=folder)
    assert failed.returncode == 4
    assert "SQNR of output" in failed.stderr
    machine = onnxq("gate", "a.json", "--min-sqnr", "900", "--json", cwd=folder)
    assert json.loads(machine.stdout)["passed"] is False


@pytest.mark.parametrize(
    ("actions", "hint"),
    [
        (("float", "int16"), "--exclude-from own.json"), (("int16",), "--activations int16"),
        ((), "--recipe best"),
    ],
)  # fmt: skip
def test_gate_says_how_to_apply_what_is_recommended(actions, hint, tmp_path):
    report = sample()
    report["recommendation"] = [{"node": "a", "action": action} for action in actions]
    (tmp_path / "own.json").write_text(json.dumps(report), encoding="utf-8")
    failed = onnxq("gate", "own.json", "--min-sqnr", "900", cwd=tmp_path)
    assert hint in failed.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("gate", "a.json"), ("gate", "missing.json", "--min-sqnr", "1"),
        ("gate", "other.json", "--min-sqnr", "1"), ("diff", "a.json", "other.json"),
        ("diff", "a.json", "b.json", "-o", "d.txt"),
    ],
)  # fmt: skip
def test_wrong_input(folder, arguments):
    done = onnxq(*arguments, cwd=folder)
    assert done.returncode == 2
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr


def test_diff(folder):
    done = onnxq("diff", "a.json", "b.json", "-o", "d.md", cwd=folder)
    assert done.returncode == 0
    assert "-9.0" in done.stdout
    assert "-9.0" in (folder / "d.md").read_text(encoding="utf-8")
    found = json.loads(onnxq("diff", "a.json", "b.json", "--json", cwd=folder).stdout)
    assert found["worse"][0]["gain_db"] == pytest.approx(-9.0)
