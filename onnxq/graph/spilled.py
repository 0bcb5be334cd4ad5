"""Arrays that wait in a temporary file."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Arrays of more bytes are worth a file.
LARGE = 1 << 24


class Spilled:
    """An array kept in a file without a name, which ends with the process.

    ``np.asarray`` reads it, anew for each call.
    """

    def __init__(self, values: NDArray[Any]) -> None:
        self.shape, self.dtype = values.shape, values.dtype
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the array)
        np.ascontiguousarray(values).view(np.uint8).tofile(self._file)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        self._file.seek(0)
        stored = np.frombuffer(bytearray(self._file.read()), self.dtype).reshape(self.shape)
        return stored if dtype is None else stored.astype(dtype)


def spilled(values: NDArray[Any]) -> NDArray[Any] | Spilled:
    """*values*, in a file where they are large."""
    return Spilled(values) if values.nbytes > LARGE else values
