"""Codes of few bits as MatMulNBits and GatherBlockQuantized of ONNX Runtime read them.

Codes are unsigned, row after row, the first in the lowest bits of a byte. Signed ones are moved up
by 2^(bits − 1), which is the zero point where none is given. Rows of a product are those of the
transposed weight, in blocks, the last one filled up. Source: ONNX Runtime, ContribOperators.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST_BLOCK, LARGEST_BLOCK = 16, 256


def block_size(values: int, given: int) -> int | None:
    """The size of blocks for rows of *values* with a scale for each *given*; None: there is none.

    Sizes are powers of two from 16 to 256: larger blocks, and rows with one scale, are cut.
    """
    whole = min(given, values)
    size = min(whole & -whole, LARGEST_BLOCK)
    equal = size == given or values % whole == 0
    return size if equal and size >= SMALLEST_BLOCK else None


def pack_rows(codes: NDArray[Any], bits: int, *, signed: bool) -> NDArray[np.uint8]:
    """*codes* of 2, 4 or 8 *bits*, packed along the last axis: uint8 [..., ceil(n · bits / 8)]."""
    up = codes.astype(np.int16) + (signed << (bits - 1))
    each = 8 // bits
    gap = -up.shape[-1] % each
    whole = np.pad(up, [(0, 0)] * (up.ndim - 1) + [(0, gap)]).astype(np.uint8)
    parts = whole.reshape(*up.shape[:-1], -1, each) << np.arange(0, 8, bits, dtype=np.uint8)
    return np.asarray(np.bitwise_or.reduce(parts, axis=-1), np.uint8)


def unpack_rows(packed: NDArray[np.uint8], bits: int, values: int) -> NDArray[np.uint8]:
    """The first *values* codes of each row of *packed*: the inverse for unsigned ones."""
    parts = packed[..., None] >> np.arange(0, 8, bits, dtype=np.uint8)
    codes = (parts & np.uint8((1 << bits) - 1)).reshape(*packed.shape[:-1], -1)
    return codes[..., :values]


def pack_blocks(rows: NDArray[Any], size: int, bits: int, *, signed: bool) -> NDArray[np.uint8]:
    """*rows* [n, k] in blocks of *size*, packed: uint8 [n, ceil(k / size), size · bits / 8]."""
    gap = -rows.shape[1] % size
    whole = np.pad(rows.astype(np.int16), ((0, 0), (0, gap)))
    return pack_rows(whole.reshape(len(rows), -1, size), bits, signed=signed)
