"""Samples cut from stacked arrays: in memory, or read from ``.npy`` and ``.npz`` as a stream.

Files are read sample by sample, also where they are compressed, so that memory holds one sample
however large the file is. Nothing is ever unpickled.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import DataError
from onnxq.runtime.session import InputInfo

Rows = Iterator[NDArray[Any]]
#: What reading a damaged array file or archive raises.
UNREADABLE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Stack:
    """A stacked array: its shape, and a function that reads it row by row from the given row on."""

    shape: tuple[int, ...]
    rows: Callable[[int], Rows]


def memory_stack(array: NDArray[Any]) -> Stack:
    """*array* as a stack along its first axis."""
    return Stack(array.shape, lambda first: iter(array[first:]))


def file_stacks(path: Path, inputs: Sequence[InputInfo]) -> dict[str, Stack]:
    """The stacks in a ``.npz`` (by key) or ``.npy`` file (of the single input).

    Raises:
        DataError: the file cannot be read, holds pickles, or is a ``.npy`` for several inputs.
    """
    if path.suffix == ".npy":
        if len(inputs) != 1:
            names = ", ".join(i.name for i in inputs)
            raise DataError(
                f"{path}: one array, but the model has {len(inputs)} inputs: {names}",
                hint="a .npz file whose keys are the names of the inputs",
            )
        return {inputs[0].name: _file_stack(path, None)}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [n for n in archive.namelist() if n.endswith(".npy")]
    except UNREADABLE as error:
        raise DataError(f"{path} is no .npz file", why=str(error)) from error
    if not members:
        raise DataError(f"{path} holds no arrays")
    return {m.removesuffix(".npy"): _file_stack(path, m) for m in members}


def cut(stacks: Mapping[str, Stack], inputs: Sequence[InputInfo], origin: str) -> int:
    """How many samples *stacks* hold.

    Raises:
        DataError: a rank that fits neither rule, stacks of unlike length, or no sample.
    """
    ranks = {i.name: None if i.shape is None else len(i.shape) for i in inputs}
    for name, stack in stacks.items():
        rank = ranks.get(name)
        if rank is not None and (len(stack.shape) not in (rank, rank + 1) or not stack.shape):
            raise DataError(
                f"{origin}: '{name}' has shape {list(stack.shape)}, the input has rank {rank}",
                hint=f"stack samples along the first axis: rank {rank}, or {rank + 1} for a "
                "fixed batch",
            )
    lengths = {name: stack.shape[0] if stack.shape else 0 for name, stack in stacks.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{n}' {k}" for n, k in lengths.items())
        raise DataError(f"{origin}: unlike numbers of samples: {listed}")
    length = next(iter(lengths.values()), 0)
    if not length:
        raise DataError(f"{origin} holds no samples")
    return length


def samples(
    stacks: Mapping[str, Stack], inputs: Sequence[InputInfo], first: int = 0
) -> Iterator[dict[str, NDArray[Any]]]:
    """Feeds of *stacks*: ``a[i:i+1]`` where the rank is the input's, ``a[i]`` of one rank more.

    They start at sample *first*.
    """
    ranks = {i.name: None if i.shape is None else len(i.shape) for i in inputs}
    keep = {n: ranks.get(n) is None or len(s.shape) == ranks[n] for n, s in stacks.items()}
    streams = {n: s.rows(first) for n, s in stacks.items()}
    for values in zip(*streams.values(), strict=True):
        yield {
            n: v[None] if keep[n] else np.asarray(v) for n, v in zip(streams, values, strict=True)
        }


def _file_stack(path: Path, member: str | None) -> Stack:
    name = f"{path}" if member is None else f"{path}: '{member.removesuffix('.npy')}'"
    with ExitStack() as files:
        shape, dtype, fortran = _header(_open(path, member, files, name), name)

    def rows(first: int) -> Rows:
        with ExitStack() as files:
            file = _open(path, member, files, name, seek=first > 0)
            _header(file, name)
            if 0 in shape:
                yield from np.empty(shape, dtype)[first:]
                return
            if fortran:  # rows are not contiguous: this one is read whole
                whole = _read(file, int(np.prod(shape)) * dtype.itemsize, name)
                yield from np.frombuffer(whole, dtype).reshape(shape, order="F")[first:]
                return
            size = int(np.prod(shape[1:])) * dtype.itemsize
            if first:
                file.seek(first * size, os.SEEK_CUR)
            for _ in range(first, shape[0] if shape else 0):
                yield np.frombuffer(_read(file, size, name), dtype).reshape(shape[1:])

    return Stack(shape, rows)


def _open(
    path: Path, member: str | None, files: ExitStack, name: str, seek: bool = False
) -> IO[bytes]:
    """The array file, at its start. To *seek* in an uncompressed member costs no reading."""
    try:
        if member is None:
            return files.enter_context(path.open("rb"))
        archive = files.enter_context(zipfile.ZipFile(path))
        entry = archive.getinfo(member)
        if not seek or entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            return files.enter_context(archive.open(member))
        file = files.enter_context(path.open("rb"))
        file.seek(entry.header_offset + 26)  # the local header repeats the name, at its own length
        lengths = file.read(4)
        file.seek(sum(int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2)), os.SEEK_CUR)
        return file
    except UNREADABLE as error:
        raise DataError(f"{name} cannot be read", why=str(error)) from error


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_2_0
        if version == (1, 0):
            read = np.lib.format.read_array_header_1_0
        shape, fortran, dtype = read(file)
    except UNREADABLE as error:
        raise DataError(f"{name} is no array file", why=str(error)) from error
    if dtype.hasobject:
        raise DataError(
            f"{name} holds pickled Python objects, which are never loaded",
            hint="np.savez(file, name=array) with arrays of numbers",
        )
    return shape, dtype, fortran


def _read(file: IO[bytes], size: int, name: str) -> bytes:
    try:
        data = file.read(size)
    except UNREADABLE as error:
        raise DataError(f"{name} cannot be read", why=str(error)) from error
    if len(data) != size:
        raise DataError(f"{name} is truncated")
    return data
