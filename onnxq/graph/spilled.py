"""Arrays that wait in a temporary file."""

from __future__ import annotations

import math
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Arrays of more bytes are worth a file.
LARGE = 1 << 20


class Spill:
    """A file without a name for large arrays; it ends with the last of them."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the arrays)

    def keep(self, values: NDArray[Any]) -> NDArray[Any] | Spilled:
        """*values*, in the file where they are large."""
        return Spilled(self, values) if values.nbytes > LARGE else values

    def write(self, values: NDArray[Any]) -> int:
        """Where in the file the bytes of *values* begin."""
        place = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(values).view(np.uint8).data)
        return place

    def read(self, place: int, size: int) -> bytearray:
        """*size* bytes from *place*."""
        self._file.seek(place)
        return bytearray(self._file.read(size))


class Spilled:
    """An array in the file *spill*; ``np.asarray`` reads it, anew for each call."""

    def __init__(self, spill: Spill, values: NDArray[Any]) -> None:
        self.shape, self.dtype = values.shape, values.dtype
        self._spill, self._place = spill, spill.write(values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        read = self._spill.read(self._place, math.prod(self.shape) * self.dtype.itemsize)
        found = np.frombuffer(read, self.dtype).reshape(self.shape)
        return found if dtype is None else found.astype(dtype)
