"""Who may import whom, who may print, and how long a file may be; read off the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "onnxq"
FILES = sorted(ROOT.rglob("*.py"))

LAYERS: dict[str, int] = {
    "_versions": 1, "errors": 0, "threads": 0,
    "graph": 1, "quant": 1, "integer": 2, "targets": 2, "runtime": 3, "calibrate": 4,
    "pipeline": 5, "passes": 6,
    "report": 7, "export": 7, "testing": 7, "api": 8, "demo": 9, "cli": 10, "__main__": 11,
}  # fmt: skip

PURE = {"onnxq.calibrate.observer", "onnxq.calibrate.statistics"}
"""Importable from everywhere above quant: contracts without a runtime."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> int:
    parts = module.split(".")
    return 12 if len(parts) == 1 else LAYERS[parts[1]]


def imports(path: Path) -> Iterator[str]:
    """Absolute names of all modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            # `from onnxq import x` names a module or a lazily found public name
            if node.module == "onnxq":
                yield from (f"onnxq.{a.name}" for a in node.names if a.name in LAYERS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    me = name_of(path)
    for other in imports(path):
        if other.split(".")[0] != "onnxq" or other == "onnxq" or other in PURE:
            continue
        assert layer(other) <= layer(me), f"{me} imports {other}, which is above it"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_runtime_imports_onnxruntime(path: Path) -> None:
    me = name_of(path)
    found = [o for o in imports(path) if o.split(".")[0] == "onnxruntime"]
    assert not found or me.startswith("onnxq.runtime")
    if me.startswith("onnxq.quant"):
        assert not any(o.split(".")[0] == "onnx_graphsurgeon" for o in imports(path))


@pytest.mark.parametrize("path", sorted((ROOT / "passes").rglob("*.py")), ids=name_of)
def test_passes_import_neither_the_runtime_nor_each_other(path: Path) -> None:
    me = name_of(path)
    for other in imports(path):
        assert not other.startswith(("onnxq.runtime", "onnxruntime")), f"{me} imports {other}"
        if other.startswith("onnxq.passes"):
            last = other.rsplit(".", 1)[1]
            assert last.startswith("_"), f"{me} imports the pass module {other}"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("onnxq.passes"):
            folder_only = str(node.module).count(".") < 3
            names = [a.name for a in node.names]
            shared = str(node.module).rsplit(".", 1)[1].startswith("_")
            assert shared or not folder_only or all(n.startswith("_") for n in names), me


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_command_line_prints(path: Path) -> None:
    me = name_of(path)
    if me.startswith("onnxq.cli"):
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{me}:{node.lineno} prints"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            stream = (node.value.id, node.attr)
            assert stream not in (("sys", "stdout"), ("sys", "stderr")), f"{me}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 300


def test_the_top_level_is_closed() -> None:
    allowed = {
        "pyproject.toml", "README.md", "LICENSE", "onnxq", "passes", "tests", "models",
        "build", "dist", "onnxq.egg-info",
    }  # fmt: skip
    found = {p.name for p in ROOT.parent.iterdir() if not p.name.startswith(".")}
    assert found <= allowed


def test_the_link_to_the_passes_cannot_be_imported() -> None:
    import importlib
    import sys

    link = ROOT.parent / "passes"
    if not link.is_dir():
        pytest.skip("a checkout without links")
    assert link.resolve() == (ROOT / "passes").resolve()
    before = list(sys.path)
    sys.path.insert(0, str(ROOT.parent))
    try:
        with pytest.raises(ImportError, match=r"its only name is 'onnxq\.passes'"):
            importlib.import_module("passes")
    finally:
        sys.path[:] = before
        sys.modules.pop("passes", None)
