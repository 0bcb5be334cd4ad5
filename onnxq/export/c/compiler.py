"""The C compiler of this machine, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from onnxq.errors import DependencyError, OnnxqError


def compiler() -> str | None:
    """The path of ``cc``; None where there is none."""
    return shutil.which("cc")


def compile_c(folder: Path, program: Path, flags: Sequence[str] = ("-O2",)) -> None:
    """Compile every C file in *folder* into *program*.

    Raises:
        DependencyError: there is no compiler.
        OnnxqError: it refuses; its messages are given.
    """
    found = compiler()
    if found is None:
        raise DependencyError("there is no C compiler 'cc'", hint="install gcc or clang")
    sources = sorted(str(p) for p in folder.glob("*.c"))
    command = [found, "-std=c99", *flags, "-o", str(program), *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OnnxqError("the generated C does not compile", why=done.stderr[:4000])
