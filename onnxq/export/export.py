"""Export of a model to a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import OutputError, UnknownNameError
from onnxq.export.arrays import write_arrays
from onnxq.export.c import Source, golden, write_c
from onnxq.export.encodings import encoding_files
from onnxq.export.manifest import add_golden, manifest
from onnxq.graph import Model
from onnxq.integer import Program, encode, lower
from onnxq.report.qdq_form import qdq_form

FORMATS = ("c", "manifest", "tensorrt", "aimet", "ppq")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: where.
        program: the integers; None where only scales were written.
        source: the C project; None for other formats.
        frames: number of golden frames.
    """

    folder: Path
    program: Program | None
    source: Source | None
    frames: int


def export(
    model: Model,
    to: str,
    folder: Path,
    *,
    samples: Iterable[Mapping[str, NDArray[Any]]] | None = None,
    frames: int = 4,
    name: str = "",
) -> Exported:
    """Write *model* to *folder*, which is made where it is not there.

    Args:
        model: a QDQ model; for C and the manifest one for integer-only hardware, as ``quantize
            --target fpga-pow2`` makes it.
        to: ``c``, ``manifest``, or scales for another tool: ``tensorrt``, ``aimet``, ``ppq``.
        folder: where to; files of the same names are replaced.
        samples: frames for the golden vectors, by input name; None draws codes.
        frames: how many of them.
        name: of the model; its file's by default.

    Raises:
        UnknownNameError: *to* is no format.
        UnsupportedModelError: a node cannot run on integers alone; nothing is written.
        OutputError: the folder cannot be written.
    """
    if to not in FORMATS:
        raise UnknownNameError("format", to, FORMATS, hint=" or ".join(FORMATS))
    name = name or (model.path.stem if model.path is not None else "model")
    name = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "model"
    if to in ("tensorrt", "aimet", "ppq"):
        return _scales(qdq_form(model), to, folder, name)
    program = lower(qdq_form(model))
    vectors = golden(program, _codes(program, samples, frames), frames)
    described, arrays = manifest(program, name)
    texts: dict[str, str] = {}
    source = None
    if to == "c":
        source = write_c(program, vectors, name)
        described["static_ram_bytes"] = source.ram
        described["constant_bytes"] = source.constants
        texts.update(source.files)
    else:
        add_golden(described, vectors.codes, arrays)
    texts["manifest.json"] = json.dumps(described, indent=1) + "\n"
    with _writing(folder):
        write_arrays(folder, arrays, designs=to == "manifest")
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
    return Exported(folder, program, source, vectors.frames)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"'{folder}' cannot be written", why=reason) from error


def _scales(model: Model, to: str, folder: Path, name: str) -> Exported:
    texts, beside = encoding_files(model, to, name)
    with _writing(folder):
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
    kind = "qdq" if to == "tensorrt" else "float"
    beside.save(folder / f"{name}.{kind}.onnx")
    return Exported(folder, None, None, 0)


def stacked(
    program: Program, samples: Iterable[Mapping[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Codes [frames, …] of every input of *program*, from samples of the model's inputs."""
    kept = list(samples)
    return {
        v: np.concatenate([encode(program.values[v], np.asarray(s[n])) for s in kept])
        for n, v in program.inputs.items()
    }


def _codes(
    program: Program, samples: Iterable[Mapping[str, NDArray[Any]]] | None, frames: int
) -> dict[str, NDArray[Any]] | None:
    if samples is None:
        return None
    return stacked(program, (s for s, _ in zip(samples, range(frames), strict=False)))
