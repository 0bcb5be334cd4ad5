"""Types of which several values share a byte: the first value lies in the lowest bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(array: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Codes of *array*, *bits* (2, 4 or 6) each, packed; the last byte is filled with zeros.

    Layout of ``TensorProto.raw_data`` (onnx.proto): values in C order, the first in the lowest
    bits of the first byte. Returns ``ceil(size * bits / 8)`` bytes.
    """
    codes = np.ascontiguousarray(array).reshape(-1).view(np.uint8) & np.uint8((1 << bits) - 1)
    if 8 % bits:
        planes = np.unpackbits(codes[:, None], axis=1, count=bits, bitorder="little")
        return np.packbits(planes.reshape(-1), bitorder="little")
    each = 8 // bits
    groups = np.zeros((-(-codes.size // each), each), np.uint8)
    groups.reshape(-1)[: codes.size] = codes
    shifted = groups << (np.arange(each, dtype=np.uint8) * np.uint8(bits))
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(shifted, axis=1)
    return packed


def unpack(packed: NDArray[np.uint8], bits: int, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The inverse of `pack`: the first *count* values, fewer where *packed* holds fewer."""
    if 8 % bits:
        flat = np.unpackbits(packed, bitorder="little")
        planes = flat[: flat.size // bits * bits].reshape(-1, bits)
        codes = np.packbits(planes, axis=1, bitorder="little").reshape(-1)
    else:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        codes = (packed[:, None] >> shifts & np.uint8((1 << bits) - 1)).reshape(-1)
    if dtype.name.startswith("int"):  # codes are two's complement
        sign = np.uint8(1 << (bits - 1))
        return ((codes ^ sign).astype(np.int8) - np.int8(sign)).astype(dtype)[:count]
    if dtype.name.startswith("uint"):
        return codes.astype(dtype)[:count]
    return codes.view(dtype)[:count]
