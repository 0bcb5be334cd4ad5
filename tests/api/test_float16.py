"""A float16 model is quantized like a float32 one, and keeps its interface."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

import onnxq
from onnxq.runtime.coverage import kernels
from onnxq.testing import random_feeds
from tests.passes.golden import outputs, parse

TEXT = """g (float16[N,3,8,8] x) => (float16[N,4,8,8] y)
    <float16[4,3,3,3] w, float16[4] b, float16[4,4,1,1] v>
    { [one] c = Conv <pads = [1,1,1,1]> (x, w, b)  [relu] r = Relu (c)  [two] y = Conv (r, v) }"""


@pytest.mark.parametrize("recipe", ["fast", "balanced"])
def test_quantize(recipe: str) -> None:
    source = parse(TEXT)
    data = random_feeds(source, 12)
    assert data[0]["x"].dtype == np.float16
    result = onnxq.quantize(source, data=data, target="x86", recipe=recipe)
    assert set(result.ctx.plan.nodes) >= {"one"}
    assert "one" in kernels(result.model)
    proto = result.model.to_proto()
    for end in (*proto.graph.input, *proto.graph.output):
        assert end.type.tensor_type.elem_type == TensorProto.FLOAT16
    assert [v.name for v in (*proto.graph.input, *proto.graph.output)] == ["x", "y"]
    noise = signal = 0.0
    for feed in data:
        real = outputs(source, feed)[0].astype(np.float64)
        noise += float(np.square(outputs(proto, feed)[0].astype(np.float64) - real).sum())
        signal += float(np.square(real).sum())
    assert 10 * np.log10(signal / noise) > 25


def as_bfloat16(text: str) -> onnx.ModelProto:
    """The model of *text*, float32, with everything in bfloat16."""
    model = parse(text)
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.elem_type = TensorProto.BFLOAT16
    for tensor in model.graph.initializer:
        value = (onnx.numpy_helper.to_array(tensor) / 10).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(onnx.helper.make_tensor(
            tensor.name, TensorProto.BFLOAT16, value.shape, value.tobytes(), raw=True))  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    return model


BRAIN = """g (float[N,64] x) => (float[N,8] y) <float[64,64] w, float[64] b, float[64,8] v>
    { [one] a = Gemm (x, w, b)  [relu] r = Relu (a)  [two] z = MatMul (r, v)
      [tanh] y = Tanh (z) }"""


@pytest.mark.parametrize("mode", ["static", "dynamic", "weights"])
def test_bfloat16(mode: str) -> None:
    source, random = as_bfloat16(BRAIN), np.random.default_rng(0)
    data = [{"x": random.normal(size=(2, 64)).astype(np.float32)} for _ in range(20)]
    result = onnxq.quantize(source, data=data, target="x86-vnni", mode=mode)
    proto = result.model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    for end in (*proto.graph.input, *proto.graph.output):
        assert end.type.tensor_type.elem_type == TensorProto.BFLOAT16
    assert [v.name for v in (*proto.graph.input, *proto.graph.output)] == ["x", "y"]
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > 30
    assert result.report["summary"]["bytes_float"] == source.ByteSize()
    assert "bfloat16" in result.report["notes"][-1]
    types = {t.data_type for t in proto.graph.initializer if np.prod(t.dims) >= 512}
    assert types == {TensorProto.INT8}
    proto.opset_import[0].version = 21  # onnx's reference has no older DequantizeLinear
    x = data[0]["x"].astype(ml_dtypes.bfloat16)
    (real,) = ReferenceEvaluator(source).run(None, {"x": x})
    (found,) = ReferenceEvaluator(proto).run(None, {"x": x})
    assert found.dtype == ml_dtypes.bfloat16
    assert np.abs(found.astype(np.float32) - real.astype(np.float32)).max() < 0.05


def test_what_stays_in_float_is_stored_in_half_the_bytes() -> None:
    source = parse(BRAIN.replace("float[", "float16["))
    result = onnxq.quantize(source, data=random_feeds(source, 12), target="x86", exclude=["two"],
                            recipe="fast")  # fmt: skip
    stored = {t.name: t.data_type for t in result.model.to_proto().graph.initializer}
    assert [k for n, k in stored.items() if n.split("__")[0] == "v"] == [TensorProto.FLOAT16]
