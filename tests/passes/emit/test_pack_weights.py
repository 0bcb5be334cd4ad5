from __future__ import annotations

import numpy as np
import onnx

from onnxq.runtime.coverage import kernels
from tests.passes.golden import outputs
from tests.passes.stages import run

RECIPE = "plan-kernels,choose-ranges,quantize-weights,quantize-biases,insert-qdq"
TEXT = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] w, float[2,2,1,1] v, float[2] b>
    { [one] a = Conv (x, w)  [relu] r = Relu (a)  [two] y = Conv (r, v, b) }"""


def set_to(*layers: str) -> str:
    names = ",".join(f'"{name}"' for name in layers)
    return f"raise-opset{{opset=21}},set-precision{{layers=[{names}]}},{RECIPE}"


def feed() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)}


def test_codes_of_4_bits_are_unpacked_into_an_integer_kernel() -> None:
    plain, _ = run(TEXT, set_to("one=4"), target="x86")
    packed, _ = run(TEXT, set_to("one=4") + ",pack-weights", target="x86")
    proto = packed.to_proto()
    stored = {t.name: t.data_type for t in proto.graph.initializer}
    assert stored["w__q"] == onnx.TensorProto.INT4
    (cast,) = (n for n in proto.graph.node if n.op_type == "Cast")
    (reader,) = (n for n in proto.graph.node if cast.output[0] in n.input)
    assert (cast.input[0], reader.op_type) == ("w__q", "DequantizeLinear")
    assert kernels(packed)["one"] == "QLinearConv"
    assert "one" not in kernels(plain)
    for found, real in zip(outputs(proto, feed()), outputs(plain.to_proto(), feed()), strict=True):
        np.testing.assert_allclose(found, real, atol=0.05)


def test_float_layers_are_stored_in_half() -> None:
    model, _ = run(TEXT, set_to("two=16") + ",pack-weights", target="x86")
    weight = next(t for t in model.to_proto().graph.initializer if t.name == "v__half")
    assert weight.data_type == onnx.TensorProto.FLOAT16
    assert [n.op for n in model.nodes()].count("Cast") == 1


def test_other_targets_keep_four_bits_in_dequantize_linear() -> None:
    model, _ = run(TEXT, set_to("one=4") + ",pack-weights", target="generic")
    assert "Cast" not in {n.op for n in model.nodes()}
