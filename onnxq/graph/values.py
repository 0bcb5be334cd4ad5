"""Values of stored tensors: kept in the form of the file, decoded on first use."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import SparseTensorProto, TensorProto, numpy_helper
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnxq.errors import ModelFileError, UnsupportedModelError
from onnxq.graph.dtypes import PACKED_BITS, to_numpy, to_onnx, type_name
from onnxq.graph.external import Location, is_external, locate
from onnxq.graph.packing import pack, unpack
from onnxq.graph.protos import copy_fields

_DATA = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
FORM = (*_DATA, "raw_data", "external_data", "data_location", "segment", "dims", "data_type")


class StoredValues(LazyValues):  # type: ignore[misc]
    """The value of a tensor in the form in which it came: data field, docs, external location.

    Attributes:
        rest: the message without its ``raw_data``.
        raw: the bytes of ``raw_data``; None where the data is elsewhere.
        shape: dimensions.
        dtype: numpy dtype (from ml_dtypes where numpy has none); a number for unknown types.
        array: the decoded value once it was used. It is read-only, so that a constant whose
            array is this one is known to be unchanged and is written in its original form.
    """

    def __init__(self, proto: TensorProto, model: Path | None = None) -> None:
        self.rest = copy_fields(proto, TensorProto(), skip=("raw_data",))
        self.raw: bytes | None = proto.raw_data if proto.HasField("raw_data") else None
        self.shape = tuple(int(d) for d in proto.dims)
        self.dtype = to_numpy(proto.data_type)
        self.where: Location | None = locate(proto, model) if is_external(proto) else None
        self.array: NDArray[Any] | None = None

    @property
    def tensor(self) -> TensorProto:
        """The message as it was loaded (graphsurgeon's own exporter asks for it)."""
        return self.fill(TensorProto())

    @property
    def nbytes(self) -> int:
        """Bytes of the value in memory, as graphsurgeon defines it."""
        item = self.dtype.itemsize if isinstance(self.dtype, np.dtype) else 1
        return math.prod(self.shape) * item

    def stored_bytes(self) -> int:
        """Bytes that the value takes in a file."""
        if self.where is not None:
            return self.where.size()
        return len(self.raw) if self.raw is not None else self.rest.ByteSize()

    def load(self) -> NDArray[Any]:
        """The value, read-only.

        Raises:
            ModelFileError: the data has not the size that type and shape ask for, or its file
                is missing or too short.
            UnsupportedModelError: the element type has no numpy dtype, or the data is segmented.
        """
        if self.array is None:
            self.array = self.read()
        return self.array

    def read(self) -> NDArray[Any]:
        """As ``load``, but nothing is kept: the next call reads again."""
        array = self._decode()
        array.flags.writeable = False
        return array

    def data(self) -> Any | None:
        """The bytes as ``raw_data`` would hold them; None where they are in a typed field."""
        return self.where.read() if self.where is not None else self.raw

    def fill(self, proto: TensorProto, *, embed: bool = False) -> TensorProto:
        """Write the original form into the empty message *proto*; *embed* external data."""
        if embed and self.where is not None:
            copy_fields(self.rest, proto, skip=("external_data", "data_location"))
            proto.raw_data = self.where.read().tobytes()
        else:
            copy_fields(self.rest, proto)
            if self.raw is not None:
                proto.raw_data = self.raw
        return proto

    def _decode(self) -> NDArray[Any]:
        kind = self.rest.data_type
        if not isinstance(self.dtype, np.dtype) or self.rest.HasField("segment"):
            raise UnsupportedModelError(
                f"the value of tensor '{self.rest.name}' cannot be read",
                why="it is stored in segments" if self.rest.HasField("segment")
                else f"its element type {type_name(kind)} is not known",
            )  # fmt: skip
        data, count = self.data(), math.prod(self.shape)
        if data is None:
            values = self._typed(kind)
        elif kind in PACKED_BITS:
            values = unpack(np.frombuffer(data, np.uint8), PACKED_BITS[kind], count, self.dtype)
        else:
            raw = np.frombuffer(data, np.uint8)
            if raw.size % self.dtype.itemsize:
                self._wrong_size(raw.size, "bytes")
            values = raw.view(self.dtype.newbyteorder("<"))
        if values.size != count:
            self._wrong_size(values.size, "values")
        return np.asarray(values.reshape(self.shape)).view()

    def _typed(self, kind: int) -> NDArray[Any]:
        """The value from the typed data field, of which `onnx.proto` says which types use it."""
        dtype: np.dtype[Any] = np.dtype(self.dtype)  # type: ignore[arg-type]
        if dtype.kind == "O":
            return np.array([*self.rest.string_data, None], object)[:-1]
        if kind in PACKED_BITS:
            packed = np.asarray(self.rest.int32_data, np.int64).astype(np.uint8)
            return unpack(packed, PACKED_BITS[kind], math.prod(self.shape), dtype)
        if dtype in (np.float32, np.complex64):
            return np.asarray(self.rest.float_data, np.float32).view(dtype)
        if dtype in (np.float64, np.complex128):
            return np.asarray(self.rest.double_data, np.float64).view(dtype)
        if dtype == np.int64:
            return np.asarray(self.rest.int64_data, np.int64)
        if dtype in (np.uint64, np.uint32):
            return np.asarray(self.rest.uint64_data, np.uint64).astype(dtype)
        whole = np.asarray(self.rest.int32_data, np.int32)
        if dtype.kind in "iub":
            return whole.astype(dtype)
        return whole.astype(f"u{dtype.itemsize}").view(dtype)  # bit patterns of short floats

    def _wrong_size(self, found: int, what: str) -> None:
        raise ModelFileError(
            f"tensor '{self.rest.name}' is damaged: it has {found} {what}",
            why=f"{type_name(self.rest.data_type)}{list(self.shape)} needs "
            f"{math.prod(self.shape)} values",
        )


class StoredSparse(LazyValues):  # type: ignore[misc]
    """A sparse initializer; its value is decoded as a dense array, its form stays sparse."""

    def __init__(self, proto: SparseTensorProto, model: Path | None = None) -> None:
        self.proto = SparseTensorProto()
        self.proto.CopyFrom(proto)
        self.items = StoredValues(proto.values, model)
        self.places = StoredValues(proto.indices, model)
        self.shape = tuple(int(d) for d in proto.dims)
        self.dtype = self.items.dtype
        self.nbytes = math.prod(self.shape) * getattr(self.dtype, "itemsize", 1)
        self.array: NDArray[Any] | None = None

    def stored_bytes(self) -> int:
        """Bytes that the value takes in a file."""
        return int(self.proto.ByteSize())

    def load(self) -> NDArray[Any]:
        """The value as a dense array, read-only."""
        if self.array is None:
            dense = np.zeros(self.shape, self.items.load().dtype)
            places = self.places.load()
            if places.ndim == 1:  # linear indices; else one row of indices a value
                dense.reshape(-1)[places] = self.items.load()
            else:
                dense[tuple(places.T)] = self.items.load()
            dense.flags.writeable = False
            self.array = dense
        return self.array

    def fill(self, proto: SparseTensorProto, *, embed: bool = False) -> SparseTensorProto:
        """Write the original form into the empty message *proto*."""
        copy_fields(self.proto, proto, skip=("values", "indices"))
        self.items.fill(proto.values, embed=embed)
        self.places.fill(proto.indices, embed=embed)
        return proto


def raw_bytes(array: NDArray[Any]) -> Any:
    """*array* in the layout of ``raw_data``: C order, little endian, 4- and 2-bit packed."""
    kind = to_onnx(array.dtype)
    if kind in PACKED_BITS:
        return pack(array, PACKED_BITS[kind])
    array = np.ascontiguousarray(array)
    if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    return array.reshape(-1).view(np.uint8)


def fill_array(proto: TensorProto, array: NDArray[Any]) -> TensorProto:
    """Write *array* into *proto* as ``raw_data`` (strings: ``string_data``)."""
    proto.dims.extend(array.shape)
    if array.dtype.kind in "OUS":
        proto.data_type = TensorProto.STRING
        proto.string_data.extend(numpy_helper.from_array(array.astype(object)).string_data)
    else:
        proto.data_type = to_onnx(array.dtype)
        proto.raw_data = raw_bytes(array).tobytes()
    return proto
