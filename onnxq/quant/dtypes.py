"""The number formats a tensor can be quantized to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
import onnx

from onnxq.errors import UnknownNameError


@dataclass(frozen=True)
class DType:
    """An integer format of *bits* bits, stored in the ONNX type *storage*.

    A width that ONNX has no type for (7 bits, say) is stored in the next wider one, with its
    range narrowed to ``qmin … qmax``.
    """

    name: str
    bits: int
    signed: bool
    storage: str

    @property
    def qmin(self) -> int:
        """Smallest code: ``-2**(bits-1)`` where signed, else 0."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Largest code: ``2**(bits-1) - 1`` where signed, else ``2**bits - 1``."""
        return (1 << (self.bits - int(self.signed))) - 1

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype of stored codes (4-bit ones come from ml_dtypes)."""
        return np.dtype(getattr(ml_dtypes, self.storage, None) or self.storage)

    @property
    def onnx(self) -> int:
        """The ``onnx.TensorProto`` data type of stored codes."""
        return int(onnx.TensorProto.DataType.Value(self.storage.upper()))

    def __str__(self) -> str:
        return self.name


def _integer(bits: int, signed: bool) -> DType:
    stored = next(b for b in (4, 8, 16, 32) if bits <= b)
    prefix = "int" if signed else "uint"
    return DType(f"{prefix}{bits}", bits, signed, f"{prefix}{stored}")


DTYPES: dict[str, DType] = {
    d.name: d for bits in (*range(2, 17), 32) for d in (_integer(bits, True), _integer(bits, False))
}
INT8, UINT8, INT32 = DTYPES["int8"], DTYPES["uint8"], DTYPES["int32"]


def in_bytes(known: DType) -> DType:
    """*known* in a type of 8 bits at least: operators on activations have no narrower ones."""
    prefix = "int" if known.signed else "uint"
    return replace(known, storage=f"{prefix}8") if known.bits < 8 else known


def dtype(name: str | DType) -> DType:
    """The format called *name*, such as ``"int8"``.

    Raises:
        UnknownNameError: there is none; the nearest names are listed.
    """
    if isinstance(name, DType):
        return name
    try:
        return DTYPES[name.lower()]
    except KeyError:
        raise UnknownNameError("number format", name, DTYPES) from None
