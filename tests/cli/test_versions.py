from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from onnxq import _versions
from onnxq.errors import DependencyError


@pytest.mark.parametrize(
    ("version", "accepted", "expected"),
    [
        ("1.18", ">=1.18,<1.24", True),
        ("1.18.0", ">=1.18,<1.24", True),
        ("1.23.2", ">=1.18,<1.24", True),
        ("1.24.0", ">=1.18,<1.24", False),
        ("1.24.0rc1", ">=1.18,<1.24", False),
        ("1.9", ">=1.18", False),
        ("2.0+cpu", ">=1.26,<3", True),
        ("1.20.0", ">=1.18,!=1.20", False),
        ("1.20", "==1.20.0", True),
        ("3", "", True),
    ],
)
def test_fits(version: str, accepted: str, expected: bool) -> None:
    assert _versions.fits(version, accepted) is expected


def metadata_says(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: lines)


def test_ranges_come_from_the_metadata(monkeypatch) -> None:
    metadata_says(
        monkeypatch,
        [
            "numpy<3,>=1.26",
            "onnx (>=1.18)",
            "rich>=13",
            'onnx<2; extra == "dev"',
            "onnx_graphsurgeon>=0.6",
        ],
    )
    assert _versions.accepted_ranges() == {
        "numpy": "<3,>=1.26", "onnx": ">=1.18", "onnx-graphsurgeon": ">=0.6",
    }  # fmt: skip
    assert _versions.problem() is None


def test_problem_names_package_found_and_accepted(monkeypatch) -> None:
    metadata_says(monkeypatch, ["networkx>=3.3", "numpy<1.0,>=0.5"])
    found = _versions.problem()
    assert isinstance(found, DependencyError)
    assert isinstance(found, ImportError)
    installed = metadata.version("numpy")
    assert found.message == f"onnxq needs numpy <1.0,>=0.5, found {installed}"
    assert 'pip install "numpy<1.0,>=0.5"' in found.hint


def test_absent_package(monkeypatch) -> None:
    metadata_says(monkeypatch, ["networkx>=3.3"])
    monkeypatch.setattr(_versions, "_installed", lambda name: None)
    found = _versions.problem()
    assert found is not None
    assert "networkx >=3.3, found none" in found.message


def test_import_raises_one_error_except_for_the_command() -> None:
    program = (
        "import importlib.metadata as m, sys; m.requires = lambda n: ['numpy<1']; "
        "sys.argv[0] = {!r}; import onnxq"
    )
    for script, code in (("/bin/onnxq", 0), ("/bin/other", 1)):
        done = subprocess.run(
            [sys.executable, "-c", program.format(script)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert code == 0 or "DependencyError: onnxq needs numpy <1, found" in done.stderr
