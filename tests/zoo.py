"""The model zoo, where it is present: ``$ONNXQ_ZOO``, or ``../shared/zoo`` beside the checkout."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import pytest

T = TypeVar("T")


def _find() -> Path | None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "zoo"
    folder = Path(os.environ.get("ONNXQ_ZOO") or beside)
    return folder if (folder / "zoo.py").is_file() else None


ZOO = _find()
"""The folder of the zoo, or None."""

_skip = pytest.mark.skipif(
    ZOO is None, reason="the model zoo is neither at $ONNXQ_ZOO nor at ../shared/zoo"
)


def needs_zoo(test: T) -> T:
    """Mark *test* (function or class) as one that needs the zoo; skipped without it."""
    return pytest.mark.zoo(_skip(test))


def zoo() -> ModuleType:
    """The zoo's own module: ``entry``, ``calibration``, ``evaluate``, ``mnist``."""
    assert ZOO is not None
    if "onnxq_zoo" not in sys.modules:
        spec = importlib.util.spec_from_file_location("onnxq_zoo", ZOO / "zoo.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["onnxq_zoo"] = module
        spec.loader.exec_module(module)
    return sys.modules["onnxq_zoo"]


def model(name: str) -> Path:
    """The FP32 model of the entry *name*."""
    path: Path = zoo().entry(name).model
    return path
