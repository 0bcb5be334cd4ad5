"""External data: read lazily from the model's own folder, written where asked."""

import mmap
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from onnxq.errors import ModelFileError, OutputError
from onnxq.graph import Model, constant_value
from tests.graph.build import CHAIN, array, parse


@pytest.fixture
def stored(tmp_path):
    """A model whose weight lies in a file beside it."""
    folder = tmp_path / "source"
    folder.mkdir()
    proto = parse(CHAIN)
    proto.graph.initializer[0].CopyFrom(array("w", 4))
    onnx.save(proto, folder / "m.onnx", save_as_external_data=True, location="m.bin",
              size_threshold=0)  # fmt: skip
    return folder / "m.onnx"


def loaded(path):
    """What onnx loads, without the mark that it leaves on data that it has embedded."""
    proto = onnx.load(path)
    for initializer in proto.graph.initializer:
        initializer.ClearField("data_location")
    return proto


def tensor(model):
    return model.tensors()["w"]


def move(path, **entries):
    proto = onnx.load(path, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        if entry.key in entries:
            entry.value = entries[entry.key]
    path.write_bytes(proto.SerializeToString())


def test_values_come_from_the_file(stored):
    expected = numpy_helper.to_array(array("w", 4))
    value = constant_value(tensor(Model.load(stored)))
    assert (value == expected).all()
    owner = value
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner, mmap.mmap)


def test_the_message_stands_alone_or_refers(stored):
    model = Model.load(stored)
    assert model.to_proto() == loaded(stored)
    assert model.to_proto(embed=False) == onnx.load(stored, load_external_data=False)


def test_missing_file_names_file_and_tensor(stored):
    (stored.parent / "m.bin").unlink()
    with pytest.raises(ModelFileError, match=r"m\.bin' cannot be read") as error:
        Model.load(stored)
    assert "'w'" in str(error.value)


def test_short_file(stored):
    (stored.parent / "m.bin").write_bytes(b"\0" * 15)
    with pytest.raises(ModelFileError, match="is too short") as error:
        Model.load(stored)
    assert "'w'" in str(error.value)


def test_wrong_length_is_damage(stored):
    move(stored, length="12")
    with pytest.raises(ModelFileError, match="'w' is damaged"):
        constant_value(tensor(Model.load(stored)))


@pytest.mark.parametrize("where", ["../m.bin", "/etc/hostname", "a/../../m.bin", "C:\\m.bin", "."])
def test_data_outside_the_folder_is_refused(stored, where):
    shutil.copy(stored.parent / "m.bin", stored.parent.parent / "m.bin")
    move(stored, location=where)
    with pytest.raises(ModelFileError, match="outside the model's folder"):
        Model.load(stored)


def test_a_link_out_of_the_folder_is_refused(stored):
    outside = stored.parent.parent / "outside.bin"
    (stored.parent / "m.bin").rename(outside)
    (stored.parent / "m.bin").symlink_to(outside)
    with pytest.raises(ModelFileError, match="outside the model's folder"):
        Model.load(stored)


def test_a_cache_of_links_is_accepted(stored):
    snapshot = stored.parent.parent / "snapshot"
    snapshot.mkdir()
    for name in ("m.onnx", "m.bin"):
        (snapshot / name).symlink_to(stored.parent / name)
    assert Model.load(snapshot / "m.onnx").to_proto() == loaded(stored)


def test_save_embeds_and_leaves_the_source_alone(stored, tmp_path):
    before = {f.name: f.read_bytes() for f in stored.parent.iterdir()}
    Model.load(stored).save(tmp_path / "out.onnx")
    assert onnx.load(tmp_path / "out.onnx", load_external_data=False) == loaded(stored)
    assert {f.name: f.read_bytes() for f in stored.parent.iterdir()} == before
    assert sorted(f.name for f in tmp_path.iterdir()) == ["out.onnx", "source"]


def test_save_external(tmp_path):
    model = Model.load(parse(CHAIN))
    tensor(model).values = np.arange(4, dtype=np.float32)
    model.save(tmp_path / "out.onnx", external=True, threshold=16)
    alone = onnx.load(tmp_path / "out.onnx", load_external_data=False)
    assert alone.graph.initializer[0].data_location == TensorProto.EXTERNAL
    assert loaded(tmp_path / "out.onnx") == model.to_proto()
    again = Model.load(tmp_path / "out.onnx")
    assert constant_value(tensor(again)).tolist() == [0, 1, 2, 3]
    onnx.checker.check_model(tmp_path / "out.onnx")
    model.save(tmp_path / "inline.onnx", external=True, threshold=17)
    assert onnx.load(tmp_path / "inline.onnx", load_external_data=False) == model.to_proto()


def test_the_source_data_is_never_replaced(stored):
    model = Model.load(stored)
    (stored.parent / "m.bin").rename(stored.parent / "o.onnx.data")
    move(stored, location="o.onnx.data")
    model = Model.load(stored)
    with pytest.raises(OutputError, match="would replace the external data"):
        model.save(stored.parent / "o.onnx", external=True, threshold=0)
    with pytest.raises(OutputError, match="would replace the external data"):
        model.save(stored.parent / "o.onnx.data")


def test_large_tensors_are_page_aligned(tmp_path):
    proto = parse(CHAIN)
    proto.graph.initializer.add().CopyFrom(array("big", 1 << 18))
    Model.load(proto).save(tmp_path / "m.onnx", external=True, threshold=0)
    saved = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    entries = {e.key: e.value for e in saved.graph.initializer[1].external_data}
    assert int(entries["offset"]) % 4096 == 0
    assert onnx.load(tmp_path / "m.onnx").graph.initializer[1].raw_data == (
        proto.graph.initializer[1].raw_data
    )
