from __future__ import annotations

import pytest

from onnxq.runtime.coverage import kernels
from tests.passes.stages import run

RECIPE = (
    'exclude-nodes{patterns=["mid"]},plan-kernels,choose-ranges,quantize-weights,quantize-biases,'
    "insert-qdq"
)


def text(op: str, between: str = "") -> str:
    shape, x, weight = ("3,3,1,1", "1,3,4,4", "Conv")
    if op != "Conv":
        shape, x, weight = "4,4", "2,4", op
    behind = "[act] c = Relu (b)" if between else "[act] c = Identity (b)"
    return f"""g (float[{x}] x) => (float[{x}] y) <float[{shape}] w, float[{shape}] v,
        float[{shape}] u> {{ [head] a = {weight} (x, w)  [mid] b = {weight} (a, v)
        {behind}  [tail] y = {weight} (c, u) }}"""


@pytest.mark.parametrize("between", ["", "Relu"])
def test_an_excluded_convolution_computes_in_float(between: str) -> None:
    recipe = "remove-noops," + RECIPE
    before, _ = run(text("Conv", between), recipe, target="x86")
    after, _ = run(text("Conv", between), recipe + ",hold-float", target="x86")
    assert kernels(before)["mid"] == "QLinearConv"  # what ONNX Runtime makes of it by itself
    assert "mid" not in kernels(after)
    (hold,) = (n for n in after.nodes() if n.op == "LeakyRelu")
    assert hold.attrs["alpha"] == 1.0 and hold.inputs[0].inputs[0].name == "mid"


def test_declines() -> None:
    for op, target in (("MatMul", "x86"), ("Conv", "openvino")):
        model, _ = run(text(op), "remove-noops," + RECIPE + ",hold-float", target=target)
        assert "LeakyRelu" not in {n.op for n in model.nodes()}
