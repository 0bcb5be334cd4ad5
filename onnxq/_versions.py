"""Whether the installed packages are ones that onnxq works with.

The accepted ranges are those of onnxq's own metadata (``pyproject.toml``), so that there is one
place for them. Where onnxq runs from a folder that was never installed there is no metadata, and
nothing is checked.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from itertools import pairwise
from pathlib import PurePath

from onnxq.errors import DependencyError

CHECKED = ("onnx", "onnxruntime", "numpy", "onnx-graphsurgeon", "networkx")

_DISTRIBUTIONS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")}
"""Packages that bring the same module under other names."""

_CLAUSE = re.compile(r"(>=|<=|==|!=|<|>)\s*([\d.]+)")


def problem() -> DependencyError | None:
    """The first checked package that is absent or outside its range; None where all is well."""
    for name, accepted in accepted_ranges().items():
        found = _installed(name)
        if found is None or not fits(found, accepted):
            return DependencyError(
                f"onnxq needs {name} {accepted}, found {found or 'none'}",
                hint=f'python -m pip install "{name}{accepted}"',
            )
    return None


def accepted_ranges() -> dict[str, str]:
    """Version ranges such as ``">=1.18,<1.24"`` by package name, of what is checked."""
    try:
        requirements = metadata.requires("onnxq") or []
    except metadata.PackageNotFoundError:
        return {}
    found = {}
    for line in requirements:
        match = re.match(r"([\w.-]+)\s*\(?([^;)]*)", line)
        if match and "extra ==" not in line and match[1].replace("_", "-") in CHECKED:
            found[match[1].replace("_", "-")] = match[2].strip()
    return found


def fits(version: str, accepted: str) -> bool:
    """Whether *version* meets every clause of *accepted*; its release numbers are compared."""
    release = _numbers(version)
    for operator, bound in _CLAUSE.findall(accepted):
        limit = _numbers(bound)
        width = max(len(release), len(limit))
        a = release + (0,) * (width - len(release))
        b = limit + (0,) * (width - len(limit))
        holds = {
            ">=": a >= b, "<=": a <= b, "==": a == b, "!=": a != b, "<": a < b, ">": a > b,
        }  # fmt: skip
        if not holds[operator]:
            return False
    return True


def at_console() -> bool:
    """Whether this process is the ``onnxq`` command, which shows the problem in its own way."""
    script = bool(sys.argv) and PurePath(sys.argv[0]).stem == "onnxq"
    return script or ("-m", "onnxq") in pairwise(sys.orig_argv)


def _installed(name: str) -> str | None:
    for candidate in _DISTRIBUTIONS.get(name, (name,)):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
