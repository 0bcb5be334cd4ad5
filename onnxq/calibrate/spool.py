"""Samples that can be produced only once, or dearly, kept in a temporary file for later passes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import DataError

Feed = dict[str, NDArray[Any]]


class Spool:
    """An iterator of feeds made repeatable: each pass replays what is stored, then goes on.

    Memory holds one sample; the file has no name in the file system where the system allows it,
    and ends with the process.
    """

    def __init__(self, source: Iterator[Feed]) -> None:
        self._source = source
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the spool)
        self._stored = 0
        self._end = 0

    def __iter__(self) -> Iterator[Feed]:
        done, place = 0, 0
        while True:
            if done < self._stored:
                self._file.seek(place)
                feed = self._read()
                place = self._file.tell()
            else:
                following = next(self._source, None)
                if following is None:
                    return
                feed = following
                self._write(feed)
                place = self._end
            done += 1
            yield feed

    def _write(self, feed: Feed) -> None:
        """One line of JSON with names, types and shapes, then the bytes of the arrays."""
        head, parts = [], []
        for name, array in feed.items():
            text = array.dtype.kind in "OU"
            data = json.dumps(array.ravel().tolist()).encode() if text else array.tobytes()
            head.append((name, "object" if text else array.dtype.name, array.shape, len(data)))
            parts.append(data)
        try:
            self._file.seek(self._end)
            self._file.write(json.dumps(head).encode() + b"\n")
            self._file.writelines(parts)
            self._end = self._file.tell()
        except OSError as error:
            raise DataError(
                "samples cannot be stored for a second pass",
                why=f"{tempfile.gettempdir()}: {error}",
                hint="free space, set TMPDIR, or give the data as a file or a list",
            ) from error
        self._stored += 1

    def _read(self) -> Feed:
        feed = {}
        for name, kind, shape, size in json.loads(self._file.readline()):
            data = self._file.read(size)
            if kind == "object":
                feed[name] = np.array(json.loads(data), np.object_).reshape(shape)
            else:
                # bfloat16 and the like are registered with numpy by ml_dtypes
                feed[name] = np.frombuffer(bytearray(data), np.dtype(kind)).reshape(shape)
        return feed
