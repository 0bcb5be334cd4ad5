"""Measured costs are kept: a machine is measured once for each processor and ONNX Runtime."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

from onnxq.errors import OptionError
from onnxq.targets import Target, detect
from onnxq.targets.costs import Costs

FORM = 2
"""Counted up where costs are measured otherwise: what an older onnxq has kept is not taken."""


def path() -> Path:
    """The file: ``onnxq/costs.json`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "onnxq" / "costs.json"


def machine() -> str:
    """The processor, for people."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def key(target: Target, threads: int = 1) -> str:
    """What costs depend on: processor, instructions, ONNX Runtime, type of codes, and threads."""
    runtime = f"onnxruntime {version('onnxruntime')}"
    more = f", {threads} threads" if threads > 1 else ""
    return f"{machine()}, {detect()[0]}, {runtime}, {target.activations.dtype}, form {FORM}{more}"


def load(target: Target, threads: int = 1) -> Costs | None:
    """What is kept for *target* on this machine; None where nothing is, or it cannot be read."""
    try:
        return Costs.parse(_kept()[key(target, threads)])
    except (KeyError, TypeError, AttributeError, OptionError):
        return None


def save(target: Target, costs: Costs, threads: int = 1) -> bool:
    """Keep *costs* of *target*; whether that was possible."""
    found = _kept() | {key(target, threads): str(costs)}
    where = path()
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=where.parent, suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1, sort_keys=True)
        Path(name).replace(where)  # whole or not at all: others may read it now
    except OSError:
        return False
    return True


def _kept() -> dict[str, str]:
    try:
        found = json.loads(path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
