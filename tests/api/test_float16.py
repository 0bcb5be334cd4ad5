"""A float16 model is quantized like a float32 one, and keeps its interface."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

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
