"""Saving: whole or not at all."""

import os

import onnx
import pytest

from onnxq.errors import OutputError
from onnxq.graph import Model, insert_node
from onnxq.graph import write as writing
from tests.graph.build import CHAIN, parse
from tests.graph.test_external import loaded


@pytest.fixture
def model():
    return Model.load(parse(CHAIN))


def test_bytes_are_deterministic(model, tmp_path):
    for name in ("a", "b"):
        model.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a", "b"]


def test_replaces_a_file_and_follows_links(model, tmp_path):
    (tmp_path / "real.onnx").write_bytes(b"old")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "real.onnx")
    model.save(tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    assert onnx.load(tmp_path / "real.onnx") == model.to_proto()


def test_no_folder(model, tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        model.save(tmp_path / "no" / "m.onnx")


def test_a_directory(model, tmp_path):
    with pytest.raises(OutputError, match="it is a directory"):
        model.save(tmp_path)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_write_protected(model, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        model.save(tmp_path / "m.onnx")


@pytest.mark.parametrize("external", [False, True])
def test_a_failure_leaves_the_old_file_and_nothing_else(model, tmp_path, monkeypatch, external):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        model.save(path, external=external, threshold=0)
    assert path.read_bytes() == b"old"
    assert [f.name for f in tmp_path.iterdir()] == ["m.onnx"]


def test_a_model_that_cannot_be_written_leaves_nothing(model, tmp_path):
    tensor = model.tensors()["t1"]
    insert_node(model, "Identity", [model.tensors()["t2"]], [tensor], name="twice")
    model.graph.nodes[0].outputs.clear()
    with pytest.raises(Exception, match="cycle"):
        model.save(tmp_path / "m.onnx", external=True)
    assert list(tmp_path.iterdir()) == []


def test_above_the_protobuf_limit_data_goes_beside(model, tmp_path, monkeypatch):
    monkeypatch.setattr("onnxq.graph.model.LIMIT", (64 << 20) + 8)
    model.tensors()["w"].values = model.tensors()["w"].values * 2
    model.save(tmp_path / "m.onnx", threshold=0)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert loaded(tmp_path / "m.onnx") == model.to_proto()


def test_bytes_of_a_model_with_large_tensors(model, monkeypatch):
    whole = model.to_proto().ByteSize()
    assert model.message_bytes() == whole
    monkeypatch.setattr("onnxq.graph.model.OUTLINED", 8)
    monkeypatch.setattr(type(model), "to_proto", None)  # what cannot be serialized is not tried
    assert abs(model.message_bytes() - whole) < 32
    assert all(list(t.dims) == [1] for t in model.outline().graph.initializer)
