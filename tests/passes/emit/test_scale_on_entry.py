"""Golden test of scale-on-entry."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph import constant_value
from onnxq.report.held import unhold
from onnxq.runtime.coverage import optimized
from onnxq.runtime.session import Session
from onnxq.testing import random_feeds
from tests.passes.golden import parse
from tests.passes.stages import run

TEXT = """g (float[1,4,16,16] x) => (float[1,4,16,16] y)
    <float[4,4,1,1] w, float[1,4,1,1] k> {
    [tanh] a = Tanh (x)  [scale] s = Mul (a, k)  [conv] y = Conv (s, w) }"""
K = np.array([1, 0.5, 0.25, 0.1], np.float32).reshape(1, 4, 1, 1)
RECIPE = (
    'exclude-nodes{patterns=["scale"]},plan-kernels,choose-ranges,quantize-weights,quantize-biases,'
    "insert-qdq"
)


def test_match() -> None:
    before, _ = run(TEXT, RECIPE, weights={"k": K})
    after, _ = run(TEXT, f"{RECIPE},scale-on-entry", weights={"k": K})
    quantize = next(n for n in after.nodes() if n.op == "QuantizeLinear" and n.attrs.get("axis"))
    single = next(n for n in before.nodes() if n.inputs[0].name == "s").inputs[1]
    np.testing.assert_allclose(
        constant_value(quantize.inputs[1]), constant_value(single) / K.reshape(-1), rtol=1e-6
    )
    assert quantize.inputs[0].name == "a"
    back = after.clone()
    unhold(back)
    for feed in random_feeds(parse(TEXT, {"k": K}))[:2]:
        one, *rest = (Session(m, optimize=False).run(feed)["y"] for m in (before, after, back))
        for other in rest:  # codes at ties may fall the other way
            assert np.mean(np.abs(other - one) > 1e-5) < 0.01
    ran = [node.op_type for node in optimized(after.to_proto()).graph.node]
    assert "QLinearConv" in ran and "Mul" not in ran
    assert sorted(n.op for n in back.nodes()) == sorted(n.op for n in before.nodes())


@pytest.mark.parametrize(
    ("text", "target", "k"),
    [
        (TEXT, "openvino", K),
        (TEXT, "x86", -K),
        (TEXT.replace("16,16", "4,4"), "x86", K),
        (TEXT.replace("=> (float", "=> (float[1,4,16,16] s, float"), "x86", K),
    ],
    ids=["other runtime", "negative", "short channels", "output"],
)
def test_declines(text: str, target: str, k: np.ndarray) -> None:
    kept, _ = run(text, f"{RECIPE},scale-on-entry", target=target, weights={"k": k})
    assert "Mul" in {n.op for n in kept.nodes()}
