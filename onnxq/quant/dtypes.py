"""The number formats a tensor can be quantized to."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
import onnx

from onnxq.errors import UnknownNameError


@dataclass(frozen=True)
class DType:
    """A format of *bits* bits, integers or floats, stored in the ONNX type *storage*.

    A width that ONNX has no type for (7 bits, say) is stored in the next wider one, with its
    range narrowed to ``qmin … qmax``. A floating-point format has *largest*, the largest finite
    value, whose code it is itself; the steps between its values grow with them.
    """

    name: str
    bits: int
    signed: bool
    storage: str
    largest: int | None = None

    @property
    def floating(self) -> bool:
        """Whether codes are floating-point numbers."""
        return self.largest is not None

    @property
    def qmin(self) -> int:
        """Smallest code: ``-2**(bits-1)`` where signed, else 0; ``-largest`` of floats."""
        if self.largest is not None:
            return -self.largest
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Largest code: ``2**(bits-1) - 1`` where signed, else ``2**bits - 1``; or ``largest``."""
        if self.largest is not None:
            return self.largest
        return (1 << (self.bits - int(self.signed))) - 1

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype of stored codes (4-bit and floating ones come from ml_dtypes)."""
        name = re.sub(r"^(float\d)(e)", r"\1_\2", self.storage)
        name = "float4_e2m1fn" if self.storage == "float4e2m1" else name
        return np.dtype(getattr(ml_dtypes, name, None) or name)

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
FLOATS: dict[str, DType] = {
    name: DType(name, bits, True, name, largest)
    for name, bits, largest in (
        ("float8e4m3fn", 8, 448), ("float8e5m2", 8, 57344), ("float4e2m1", 4, 6),
    )
}  # fmt: skip
"""Floating-point formats of few bits, by the names of ONNX."""
_SHORT = {"float8": "float8e4m3fn", "float4": "float4e2m1"}
INT8, UINT8, INT32 = DTYPES["int8"], DTYPES["uint8"], DTYPES["int32"]


def in_bytes(known: DType) -> DType:
    """*known* in a type of 8 bits at least: operators on activations have no narrower ones."""
    prefix = "int" if known.signed else "uint"
    return replace(known, storage=f"{prefix}8") if known.bits < 8 else known


def dtype(name: str | DType) -> DType:
    """The integer format called *name*, such as ``"int8"``.

    Raises:
        UnknownNameError: there is none; the nearest names are listed.
    """
    return _find(name, DTYPES)


def number_format(name: str | DType) -> DType:
    """The integer or floating-point format called *name*; ``"float8"`` is float8e4m3fn.

    Raises:
        UnknownNameError: there is none; the nearest names are listed.
    """
    known = isinstance(name, str) and _SHORT.get(name.lower())
    return _find(known or name, DTYPES | FLOATS)


def _find(name: str | DType, known: dict[str, DType]) -> DType:
    if isinstance(name, DType):
        return name
    try:
        return known[name.lower()]
    except KeyError:
        raise UnknownNameError("number format", name, known) from None
