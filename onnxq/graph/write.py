"""Writing a model file: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from onnx import ModelProto

from onnxq.errors import OutputError
from onnxq.graph.external import ExternalWriter, same_file

LIMIT = 2**31 - 1  # largest protobuf message, in bytes


def target_path(path: str | PathLike[str]) -> Path:
    """Where *path* leads to, links followed.

    Raises:
        OutputError: it is a directory, no ordinary file, write-protected, or its folder is missing.
    """
    target = Path(path)
    with contextlib.suppress(OSError, RuntimeError):
        target = target.resolve()
    why = ""
    if target.is_dir():
        why = "it is a directory"
    elif not target.parent.is_dir():
        why = f"folder '{target.parent}' does not exist"
    elif target.exists() and not target.is_file():
        why = "it is not an ordinary file"
    elif target.exists() and not os.access(target, os.W_OK):
        why = "it is write-protected"
    if why:
        raise OutputError(f"'{path}' cannot be written", why=why, hint="choose another output path")
    return target


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of *target* when the block ends well, and vanishes when not.

    Raises:
        OutputError: the folder cannot be written or the disk is full.
    """
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(6)}.tmp")
    try:
        try:
            with temporary.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        except OSError as error:
            raise OutputError(
                f"'{target}' cannot be written",
                why=error.strerror or str(error),
                hint="choose another output path",
            ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write(
    path: str | PathLike[str],
    build: Callable[[ExternalWriter | None], ModelProto],
    *,
    external: bool,
    threshold: int,
    sources: set[Path],
) -> None:
    """Write the model that *build* makes.

    Args:
        path: the file.
        build: makes the message; large tensors go to the writer that it is given.
        external: store tensors of at least *threshold* bytes in ``<file name>.data`` beside it.
        threshold: see *external*.
        sources: external data files that the model still reads from.

    Raises:
        OutputError: the file cannot be written, or would replace one of *sources*.
    """
    target = target_path(path)
    data = target.with_name(target.name + ".data")
    for file in (target, data) if external else (target,):
        if any(same_file(file, source) for source in sources):
            raise OutputError(
                f"'{file}' would replace the external data that the model is read from",
                hint="choose another output path",
            )
    if not external:
        content = build(None).SerializeToString(deterministic=True)
        with replacing(target) as stream:
            stream.write(content)
        return
    # both files are complete before the first takes its place
    with replacing(target) as stream, replacing(target_path(data)) as tensors:
        proto = build(ExternalWriter(tensors, data.name, threshold))
        stream.write(proto.SerializeToString(deterministic=True))
        stream.flush()
        os.fsync(stream.fileno())
