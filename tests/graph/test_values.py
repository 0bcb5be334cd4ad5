"""Values of stored tensors: every element type, every data field."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxq.errors import ModelFileError
from onnxq.graph.dtypes import PACKED_BITS, to_numpy, to_onnx
from onnxq.graph.values import StoredSparse, StoredValues, fill_array

KINDS = [
    k for k in TensorProto.DataType.values() if isinstance(to_numpy(k), np.dtype) and k != 8
]  # fmt: skip


def sample(dtype, shape):
    rng = np.random.default_rng(0)
    if dtype.name.startswith(("uint", "int", "bool")):
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.normal(0, 2, shape).astype(np.float32).astype(dtype)


@pytest.mark.parametrize("kind", KINDS, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 3)], ids=str)
def test_raw_data_agrees_with_onnx(kind, shape):
    array = sample(to_numpy(kind), shape)
    expected = numpy_helper.from_array(array, "x")
    written = fill_array(TensorProto(name="x"), array)
    assert written == expected
    read = StoredValues(expected).load()
    assert read.dtype == array.dtype and read.shape == shape
    assert read.tobytes() == array.tobytes()
    assert to_onnx(array.dtype) == kind


@pytest.mark.parametrize("kind", KINDS, ids=TensorProto.DataType.Name)
def test_typed_fields_agree_with_onnx(kind):
    if PACKED_BITS.get(kind) == 6:
        pytest.skip("onnx writes 6-bit floats only as raw_data")
    array = sample(to_numpy(kind), (3, 3))
    values = array if kind in PACKED_BITS else array.ravel()
    typed = helper.make_tensor("x", kind, (3, 3), values)
    assert not typed.HasField("raw_data")
    assert StoredValues(typed).load().tobytes() == array.tobytes()
    assert StoredValues(typed).tensor == typed


def test_strings():
    array = np.array([["a", "ü"], ["", "b"]], object)
    stored = StoredValues(numpy_helper.from_array(array, "x"))
    assert stored.load().tolist() == [[b"a", "ü".encode()], [b"", b"b"]]
    again = fill_array(TensorProto(name="x"), stored.load())
    assert again == stored.tensor


def test_wide_range_of_codes():
    codes = np.arange(-8, 8)
    for kind in (TensorProto.INT4, TensorProto.UINT4):
        array = (codes + (8 if kind == TensorProto.UINT4 else 0)).astype(to_numpy(kind))
        packed = fill_array(TensorProto(), array)
        assert len(packed.raw_data) == 8
        assert (StoredValues(packed).load().astype(int) == array.astype(int)).all()


def test_values_are_shared_and_read_only():
    stored = StoredValues(numpy_helper.from_array(np.ones(3, np.float32), "x"))
    assert stored.load() is stored.load()
    with pytest.raises(ValueError, match="read-only"):
        stored.load()[0] = 2


@pytest.mark.parametrize("raw", [b"\0" * 3, b"\0" * 8, b""])
def test_damaged_data_names_the_tensor(raw):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], raw_data=raw)
    with pytest.raises(ModelFileError, match="'w' is damaged"):
        StoredValues(tensor).load()


@pytest.mark.parametrize("linear", [True, False])
def test_sparse(linear):
    values = numpy_helper.from_array(np.array([1.5, 2.5], np.float32), "s")
    places = np.array([1, 5]) if linear else np.array([[0, 1], [1, 2]])
    proto = onnx.SparseTensorProto(values=values, dims=[2, 3])
    proto.indices.CopyFrom(numpy_helper.from_array(places.astype(np.int64)))
    stored = StoredSparse(proto)
    assert stored.load().tolist() == [[0, 1.5, 0], [0, 0, 2.5]]
    assert stored.fill(onnx.SparseTensorProto()) == proto
