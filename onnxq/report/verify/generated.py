"""Codes of every value, as the generated C computes them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import OnnxqError
from onnxq.export.c import compile_c, golden, write_c
from onnxq.integer import Program


class GeneratedCodes:
    """The C of a program, compiled in a temporary folder; use as a context."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._folder = tempfile.TemporaryDirectory(prefix="onnxq-")
        folder = Path(self._folder.name)
        self.source = write_c(program, golden(program, frames=1), "net")
        for name, text in self.source.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        self._program = folder / "net"
        compile_c(folder, self._program, ("-O2", "-DMODEL_TRACE"))

    def __enter__(self) -> GeneratedCodes:
        return self

    def __exit__(self, *unused: object) -> None:
        self._folder.cleanup()

    def run(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Codes [frames, …] of the output of every step, from those of the inputs."""
        parts = [np.ascontiguousarray(feed[v]) for v in self.program.inputs.values()]
        frames = len(parts[0])
        data = b"".join(p[i].tobytes() for i in range(frames) for p in parts)
        done = subprocess.run([self._program, "--raw"], input=data, capture_output=True,
                              check=False)  # fmt: skip
        values = [self.program.values[s.output] for s in self.program.steps]
        size = sum(v.bytes for v in values)
        if done.returncode or len(done.stdout) != size * frames:
            raise OnnxqError("the generated C did not run", why=done.stderr.decode()[:1000])
        rows = np.frombuffer(done.stdout, np.uint8).reshape(frames, size)
        found, start = {}, 0
        for value in values:
            part = np.ascontiguousarray(rows[:, start : start + value.bytes]).view(value.dtype)
            found[value.name] = part.reshape(frames, *value.shape[1:])
            start += value.bytes
        return found
