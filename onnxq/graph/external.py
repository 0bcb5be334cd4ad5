"""Tensor data outside the model file: where it may lie, reading it lazily, writing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from onnxq.errors import ModelFileError

PAGE = 4096  # offsets of large tensors: what memory mapping needs on common systems
LARGE = 1 << 20


def is_external(tensor: TensorProto) -> bool:
    """Whether the data of *tensor* lies in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


@dataclass(frozen=True)
class Location:
    """Bytes in a file: *length* of them from *offset*; to the end of the file where None."""

    file: Path
    offset: int
    length: int | None
    tensor: str

    def size(self) -> int:
        """Number of bytes.

        Raises:
            ModelFileError: the file is missing or ends before the tensor does.
        """
        try:
            end = self.file.stat().st_size
        except OSError as error:
            raise ModelFileError(
                f"external data file '{self.file}' cannot be read",
                why=f"tensor '{self.tensor}' is stored in it: {error.strerror or error}",
                hint="keep the data file beside the model, under the name that the model gives it",
            ) from error
        length = end - self.offset if self.length is None else self.length
        if self.offset + length > end or length < 0:
            raise ModelFileError(
                f"external data file '{self.file}' is too short: it has {end:,} bytes",
                why=f"tensor '{self.tensor}' needs bytes {self.offset:,} to "
                f"{self.offset + max(length, 0):,}",
                hint="copy or download the file again",
            )
        return length

    def read(self) -> NDArray[np.uint8]:
        """The bytes, mapped from the file and read-only; nothing is read before it is used."""
        size = self.size()
        if size == 0:
            return np.empty(0, np.uint8)
        mapped = np.memmap(self.file, np.uint8, "r", self.offset, (size,))
        return np.asarray(mapped)


def locate(tensor: TensorProto, model: Path | None) -> Location:
    """Where the data of *tensor* of the model file *model* lies.

    Raises:
        ModelFileError: the model was not loaded from a file, an entry cannot be read, or the
            location leaves the model's folder (absolute, ``..``, or a link that leads away).
    """
    entries = {e.key: e.value for e in tensor.external_data}
    where = entries.get("location", "")
    if model is None:
        raise ModelFileError(
            f"the data of tensor '{tensor.name}' lies in a file '{where}' of unknown folder",
            why="the model came from memory, not from a file",
            hint="load the model by its path, or load the external data into it first",
        )
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries["length"]) if entries.get("length") else None
    except ValueError as error:
        raise ModelFileError(
            f"tensor '{tensor.name}' has a damaged external data entry", why=str(error)
        ) from error
    file = _inside(model, where)
    if file is None or offset < 0 or (length or 0) < 0:
        raise ModelFileError(
            f"tensor '{tensor.name}' refers to external data outside the model's folder: '{where}'",
            why="only files in the model's own folder are read",
            hint="move the data file beside the model and correct the location",
        )
    return Location(file, offset, length, tensor.name)


def _inside(model: Path, where: str) -> Path | None:
    """*where* beside *model*; None where it leads out of the folder.

    A download cache keeps a model and its data as links into one other folder: that is allowed.
    """
    if not where or "\0" in where or PureWindowsPath(where).drive:
        return None
    relative = PurePosixPath(where.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or not relative.name:
        return None
    file = model.parent / relative
    real = file.resolve()
    roots = (model.parent.resolve(), model.resolve().parent)
    return file if any(real.is_relative_to(root) for root in roots) else None


class ExternalWriter:
    """Writes tensor data one after the other into one file.

    Args:
        stream: an open binary file.
        location: its final name, as the model will refer to it.
        threshold: smallest number of bytes that is stored outside the model.
    """

    def __init__(self, stream: BinaryIO, location: str, threshold: int) -> None:
        self.stream, self.location, self.threshold = stream, location, threshold
        self.position = 0

    def write(self, proto: TensorProto, data: Any) -> None:
        """Store the bytes *data* and let *proto* refer to them."""
        view = memoryview(data).cast("B")
        align = PAGE if view.nbytes >= LARGE else 64
        gap = -self.position % align
        self.stream.write(bytes(gap))
        self.stream.write(view)
        offset, self.position = self.position + gap, self.position + gap + view.nbytes
        proto.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", self.location), ("offset", offset), ("length", view.nbytes)
        ):  # fmt: skip
            proto.external_data.add(key=key, value=str(value))


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths lead to one existing file."""
    try:
        return a.samefile(b)
    except OSError:
        return False
