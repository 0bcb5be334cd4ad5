"""Wrong model files: one readable error each."""

import onnx
import pytest
from onnx import TensorProto

from onnxq.errors import ModelFileError
from onnxq.graph import Model
from tests.graph.build import CHAIN, array, parse


def write(path, data):
    path.write_bytes(data)
    return path


def bytes_of(**changes):
    proto = parse(CHAIN)
    for field, value in changes.items():
        setattr(proto, field, value)
    return proto.SerializeToString()


def test_missing(tmp_path):
    with pytest.raises(ModelFileError, match="no model file"):
        Model.load(tmp_path / "no.onnx")


def test_directory(tmp_path):
    with pytest.raises(ModelFileError, match="is a directory"):
        Model.load(tmp_path)


def test_empty_file(tmp_path):
    with pytest.raises(ModelFileError, match="is empty"):
        Model.load(write(tmp_path / "m.onnx", b""))


@pytest.mark.parametrize("data", [b"not a model at all", b"\x89PNG\r\n\x1a\n", b"{}", b"\xff" * 9])
def test_no_model(tmp_path, data):
    with pytest.raises(ModelFileError, match="is not an ONNX model"):
        Model.load(write(tmp_path / "m.onnx", data))


def test_a_tensor_is_no_model(tmp_path):
    tensor = array("x", 3).SerializeToString()
    with pytest.raises(ModelFileError, match="is not an ONNX model"):
        Model.load(write(tmp_path / "m.onnx", tensor))


def test_a_model_without_a_graph():
    with pytest.raises(ModelFileError, match="no graph"):
        Model.load(onnx.ModelProto(ir_version=9))


def test_every_truncation_is_noticed(tmp_path):
    data = bytes_of()
    for size in range(1, len(data)):
        with pytest.raises(ModelFileError, match=r"truncated|not an ONNX model"):
            Model.load(write(tmp_path / "m.onnx", data[:size]))


def test_half_a_file_is_called_truncated(tmp_path):
    data = bytes_of()
    with pytest.raises(ModelFileError, match=r"truncated: it ends [\d,]+ bytes too early"):
        Model.load(write(tmp_path / "m.onnx", data[: len(data) // 2]))


def test_newer_than_onnx():
    with pytest.raises(ModelFileError, match="newer than the installed onnx") as error:
        Model.load(bytes_of(ir_version=onnx.IR_VERSION + 1))
    assert "IR version" in str(error.value) and error.value.exit_code == 2
    proto = parse(CHAIN)
    proto.opset_import[0].version = onnx.defs.onnx_opset_version() + 1
    with pytest.raises(ModelFileError, match="opset"):
        Model.load(proto)


def test_unknown_source():
    with pytest.raises(ModelFileError, match="cannot be loaded from int"):
        Model.load(3)


def test_two_initializers_of_one_name():
    proto = parse(CHAIN)
    proto.graph.initializer.add().CopyFrom(proto.graph.initializer[0])
    with pytest.raises(ModelFileError, match="two initializers are called 'w'"):
        Model.load(proto)


def test_cycle_names_its_nodes():
    proto = parse(CHAIN)
    proto.graph.node[0].input[0] = "t3"
    with pytest.raises(ModelFileError, match="a → b → c → a"):
        Model.load(proto)


def test_external_data_of_a_message_has_no_folder():
    proto = parse(CHAIN)
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(ModelFileError, match="'w' lies in a file"):
        Model.load(proto)


class Program:
    def __init__(self, proto):
        self.model_proto = proto


def test_sources_agree(tmp_path):
    proto = parse(CHAIN)
    path = write(tmp_path / "m.onnx", proto.SerializeToString())
    sources = [path, str(path), proto, proto.SerializeToString(), Program(proto)]
    for source in sources:
        assert Model.load(source).to_proto() == proto


def test_the_source_message_is_not_touched():
    proto = parse(CHAIN)
    model = Model.load(proto)
    model.graph.nodes[0].name = "other"
    proto.graph.initializer[0].ClearField("float_data")
    assert model.to_proto().graph.initializer[0].float_data[:] == [1, 2, 3, 4]
    assert proto.graph.node[0].name == "a"
