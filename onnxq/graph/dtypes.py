"""ONNX element types and the numpy dtypes that hold their values."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto

# what numpy itself lacks; names that the installed onnx or ml_dtypes does not have yet are left out
_EXTENSION = {
    "BFLOAT16": "bfloat16",
    "FLOAT8E4M3FN": "float8_e4m3fn",
    "FLOAT8E4M3FNUZ": "float8_e4m3fnuz",
    "FLOAT8E5M2": "float8_e5m2",
    "FLOAT8E5M2FNUZ": "float8_e5m2fnuz",
    "FLOAT8E8M0": "float8_e8m0fnu",
    "FLOAT6E2M3": "float6_e2m3fn",
    "FLOAT6E3M2": "float6_e3m2fn",
    "FLOAT4E2M1": "float4_e2m1fn",
    "UINT4": "uint4",
    "INT4": "int4",
    "UINT2": "uint2",
    "INT2": "int2",
}
_PLAIN = {
    "FLOAT": "float32", "DOUBLE": "float64", "FLOAT16": "float16", "BOOL": "bool",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "COMPLEX64": "complex64", "COMPLEX128": "complex128", "STRING": "object",
}  # fmt: skip

_TO_NUMPY: dict[int, np.dtype[Any]] = {
    int(TensorProto.DataType.Value(k)): np.dtype(v) for k, v in _PLAIN.items()
}
_TO_NUMPY |= {
    int(TensorProto.DataType.Value(k)): np.dtype(getattr(ml_dtypes, v))
    for k, v in _EXTENSION.items()
    if k in TensorProto.DataType.keys() and hasattr(ml_dtypes, v)  # noqa: SIM118 (no mapping)
}
_TO_ONNX = {v: k for k, v in _TO_NUMPY.items()}

# bits of the types of which several share a byte
_PACKED = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2,
           "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}  # fmt: skip
PACKED_BITS: dict[int, int] = {
    int(TensorProto.DataType.Value(k)): bits
    for k, bits in _PACKED.items()
    if k in TensorProto.DataType.keys()  # noqa: SIM118
}


def to_numpy(data_type: int) -> np.dtype[Any] | int | None:
    """The numpy dtype of an ``onnx.TensorProto.DataType``.

    None for UNDEFINED; the number itself for a type that has no numpy dtype here.
    """
    if data_type == TensorProto.UNDEFINED:
        return None
    return _TO_NUMPY.get(data_type, data_type)


def to_onnx(dtype: Any) -> int:
    """The ``onnx.TensorProto.DataType`` of a numpy dtype; 0 (UNDEFINED) for None.

    Raises:
        TypeError: ONNX has no such type.
    """
    if dtype is None:
        return int(TensorProto.UNDEFINED)
    if isinstance(dtype, int):
        return int(dtype)
    dtype = np.dtype(dtype)
    if dtype.kind in "US":
        return int(TensorProto.STRING)
    try:
        return _TO_ONNX[dtype.newbyteorder("=") if dtype.byteorder == ">" else dtype]
    except KeyError:
        raise TypeError(f"ONNX has no element type for numpy's {dtype}") from None


def type_name(data_type: int) -> str:
    """Name of an ``onnx.TensorProto.DataType``, for messages."""
    try:
        return str(onnx.TensorProto.DataType.Name(data_type))
    except ValueError:
        return str(data_type)
