"""Compiling and running generated C in tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.export.c import Golden, Source, compile_c, compiler, golden, write_c
from onnxq.integer import Program

STRICT = ("-O0", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic",
          "-fsanitize=undefined,address", "-fno-sanitize-recover=all")  # fmt: skip

CLANG = next(
    filter(None, map(shutil.which, ("clang", *(f"clang-{n}" for n in range(14, 22))))), None
)

needs_cc = pytest.mark.skipif(compiler() is None, reason="there is no C compiler 'cc'")


@contextmanager
def blocks(wanted: bool) -> Iterator[None]:
    """All convolutions are written in blocks, or none; else the memory of the network decides."""
    with patch("onnxq.export.c.convolution.SHARE", float("inf") if wanted else 0.0):
        yield


def project(program: Program, folder: Path, vectors: Golden | None = None,
            flags: tuple[str, ...] = STRICT) -> Source:  # fmt: skip
    """Write and compile *program* in *folder*; the executable is ``net``."""
    source = write_c(program, vectors or golden(program), "net")
    folder.mkdir(exist_ok=True)
    for name, text in source.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    compile_c(folder, folder / "net", flags)
    return source


def check_golden(folder: Path) -> str:
    """What the program prints without arguments."""
    done = subprocess.run([folder / "net"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def raw(folder: Path, program: Program, feed: dict[str, NDArray[np.int8]]
        ) -> dict[str, NDArray[np.int8]]:  # fmt: skip
    """Outputs of the filter ``--raw``, by name of the value."""
    parts = [feed[v] for v in program.inputs.values()]
    frames = len(parts[0])
    data = b"".join(p[i].tobytes() for i in range(frames) for p in parts)
    done = subprocess.run([folder / "net", "--raw"], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    values = [program.values[v] for v in program.outputs.values()]
    rows = np.frombuffer(done.stdout, np.uint8).reshape(frames, sum(v.bytes for v in values))
    found, start = {}, 0
    for value in values:
        part = rows[:, start : start + value.bytes].copy().view(value.dtype)
        found[value.name] = part.reshape(frames, *value.shape[1:])
        start += value.bytes
    return found
