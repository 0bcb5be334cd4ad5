import numpy as np
import onnx
import onnx.parser
import pytest

from onnxq.errors import DataError, ModelFileError, UnsupportedModelError
from onnxq.graph import Model
from onnxq.runtime import session as session_module
from onnxq.runtime.session import InputInfo, Session

PROTO = onnx.parser.parse_model(
    """
    <ir_version: 8, opset_import: ["" : 17]>
    agraph (float[N, 4] x, int64[1] k) => (float[N, 4] y, float[N, 4] z)
    <float[4] w = {1, 2, 3, 4}>
    { y = Mul(x, w)  f = Cast<to = 1>(k)  z = Add(y, f) }
    """
)
X, K = np.ones((2, 4), np.float32), np.array([5])


@pytest.fixture(params=["proto", "bytes", "path", "model", "large proto", "large model"])
def source(request, tmp_path, monkeypatch):
    if request.param.startswith("large"):  # as if the message were too large for protobuf
        monkeypatch.setattr(session_module, "LARGEST_MESSAGE", 10)
    if request.param == "path":
        onnx.save(PROTO, tmp_path / "m.onnx")
        return tmp_path / "m.onnx"
    if request.param.endswith("model"):
        return Model.load(PROTO)
    return PROTO.SerializeToString() if request.param == "bytes" else PROTO


def test_every_form_of_model_runs(source):
    session = Session(source, threads=1)
    assert session.inputs == [
        InputInfo("x", np.dtype(np.float32), ("N", 4)),
        InputInfo("k", np.dtype(np.int64), (1,)),
    ]
    assert [o.name for o in session.outputs] == ["y", "z"]
    found = session.run({"x": X, "k": K})
    assert found["z"].tolist() == [[6, 7, 8, 9]] * 2
    assert list(session.run({"x": X, "k": K}, ["y"])) == ["y"]
    assert session.run({"x": X, "k": K}, []) == {}


def test_a_large_message_is_not_changed(monkeypatch):
    monkeypatch.setattr(session_module, "LARGEST_MESSAGE", 10)
    proto = onnx.ModelProto()
    proto.CopyFrom(PROTO)
    weight = np.full((64, 64), 0.5, np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "large"))
    proto.graph.node.add(op_type="ReduceSum", input=["large"], output=["s"])
    proto.graph.output.append(onnx.helper.make_tensor_value_info("s", 1, None))
    before = proto.SerializeToString(deterministic=True)
    assert Session(proto).run({"x": X, "k": K}, ["s"])["s"] == 2048
    assert proto.SerializeToString(deterministic=True) == before


def test_a_model_that_cannot_be_loaded_quotes_the_runtime():
    bad = onnx.ModelProto()
    bad.CopyFrom(PROTO)
    bad.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(UnsupportedModelError, match="NoSuchOperator"):
        Session(bad)


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match=r"none\.onnx"):
        Session(tmp_path / "none.onnx")


def test_a_failing_run_names_the_shapes():
    with pytest.raises(DataError, match=r"x float32\[2, 3\]"):
        Session(PROTO).run({"x": np.ones((2, 3), np.float32), "k": K})


def test_the_optimized_graph_can_be_written(tmp_path):
    Session(PROTO, optimized_path=tmp_path / "o.onnx")
    assert onnx.load(tmp_path / "o.onnx").graph.node
