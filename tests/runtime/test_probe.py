import numpy as np
import onnx
import onnx.parser

from onnxq.graph import Model
from onnxq.runtime.probe import TensorInfo, probe
from onnxq.runtime.types import element_types

TEXT = """
    <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
    agraph (float[N, S] x) => (float[N, S] y)
    {
        h = Cast<to = 10>(x)
        s = Shape(h)
        q = SequenceConstruct(x)
        g = com.microsoft.Gelu(x)
        e = NonZero(x)
        f = Cast<to = 1>(h)
        r = Reshape(f, s)
        y = Add(r, g)
    }
"""


def test_shapes_and_types_of_all_tensors():
    facts = probe(Model.load(onnx.parser.parse_model(TEXT)), {"x": np.eye(3, 4, dtype=np.float32)})
    assert facts == {
        "x": TensorInfo(1, (3, 4)),
        "h": TensorInfo(10, (3, 4)),
        "s": TensorInfo(7, (2,)),
        "g": TensorInfo(1, (3, 4)),
        "e": TensorInfo(7, (2, 3)),
        "f": TensorInfo(1, (3, 4)),
        "r": TensorInfo(1, (3, 4)),
        "y": TensorInfo(1, (3, 4)),
    }


def test_types_that_onnx_cannot_infer_are_asked_of_the_runtime():
    proto = onnx.parser.parse_model(TEXT)
    before = proto.SerializeToString(deterministic=True)
    assert element_types(proto, ["g", "h", "s"]) == {"g": 1, "h": 10, "s": 7}
    assert proto.SerializeToString(deterministic=True) == before
