from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onnxq.cli.failures import run, show
from onnxq.errors import (
    ConditionError,
    DependencyError,
    ModelFileError,
    NothingQuantizedError,
    OnnxqError,
    UnsupportedModelError,
)


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let 'onnxq targets' end with *error*."""

    def fail() -> tuple[str, str]:
        raise error

    monkeypatch.setattr("onnxq.targets.detect", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OnnxqError("broken"), 1),
        (ModelFileError("broken"), 2),
        (UnsupportedModelError("broken"), 3),
        (ConditionError("broken"), 4),
        (NothingQuantizedError("broken"), 5),
    ],
)
def test_errors_have_their_exit_code_and_no_traceback(monkeypatch, capsys, error, code) -> None:
    error.why, error.hint = "the reason [bold]", "another way"
    raising(monkeypatch, error)
    assert run(["targets"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    for part in ("broken", "the reason [bold]", "Try: another way"):
        assert part in captured.err
    assert "Traceback" not in captured.err


def test_unexpected_errors_are_one_line(monkeypatch, capsys) -> None:
    raising(monkeypatch, KeyError("w\nx"))
    assert run(["targets"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "internal error: KeyError" in err
    assert "--debug" in err


@pytest.mark.parametrize("error", [KeyError("w"), ModelFileError("broken")])
def test_debug_shows_the_traceback(monkeypatch, capsys, error) -> None:
    raising(monkeypatch, error)
    assert run(["targets", "--debug"]) == getattr(error, "exit_code", 1)
    assert "Traceback" in capsys.readouterr().err


def test_interrupt_is_quiet(monkeypatch, capsys) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    assert run(["targets"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_dependency_problem_is_shown(monkeypatch, capsys) -> None:
    wrong = DependencyError("onnxq needs numpy >=9, found 2.0", hint="install it")
    monkeypatch.setattr("onnxq._versions.problem", lambda: wrong)
    assert run(["targets"]) == 2
    assert "onnxq needs numpy >=9, found 2.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["quantise"], "Did you mean 'quantize'"),
        (["targets", "--jsn"], "--json"),
        (["explain", "fuse-batchnrom"], "fuse-batchnorm"),
        (["recipe", "fuse-batchnorm{size=3}"], "accepts no options"),
        (["quantize", "m.onnx", "-o", "no/such/folder/out.onnx"], "does not exist"),
        (["quantize", "m.onnx", "-o", ".", "--data", "d.npz"], "is a folder"),
        (["quantize", "m.onnx", "-o", "o.onnx", "--target", "x68"], "x86"),
        (["quantize", "m.onnx", "-o", "o.onnx", "--recipe", "balancd"], "balanced"),
        (["quantize", "m.onnx", "-o", "o.onnx", "--format", "qop"], "qdq-float"),
        (["quantize", "m.onnx", "-o", "o.onnx", "--report", "r.pdf"], ".json"),
    ],
)
def test_wrong_input_is_exit_2_and_says_what_to_try(
    monkeypatch, tmp_path, capsys, arguments, part
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    text = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert part in text
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from onnxq.cli.failures import run; run(['--help']); "
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'onnx_graphsurgeon', 'networkx', 'PIL'}; "
        "print('found', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "quantize" in done.stdout
    assert done.stdout.rstrip().endswith("found []")


def test_quantizing_does_not_wait_for_networkx(tmp_path: Path) -> None:
    """It takes a tenth of a second to import, and only searches for cuts and cycles need it."""
    models = Path(__file__).parents[2] / "models"
    given = [str(models / "digits_resnet.onnx"), "--data", str(models / "digits_calibration.npz")]
    program = (
        "import sys; from onnxq.cli.failures import run; "
        f"code = run(['quantize', *{given!r}, '-o', {str(tmp_path / 'q.onnx')!r}, '-q']); "
        "print('found', code, 'networkx' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("found 0 False")


def test_public_names_are_lazy_and_there() -> None:
    program = (
        "import sys, onnxq; assert 'numpy' not in sys.modules; "
        "[getattr(onnxq, n) for n in onnxq.__all__]; assert set(onnxq.__all__) <= set(dir(onnxq)); "
        "onnxq.no_such"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "module 'onnxq' has no attribute 'no_such'" in done.stderr


def test_an_error_is_readable_where_rich_is_missing(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    show(OnnxqError("onnxq needs rich, found none", hint="python -m pip install rich"))
    assert "needs rich" in (text := capsys.readouterr().err) and "Try: python -m pip" in text
