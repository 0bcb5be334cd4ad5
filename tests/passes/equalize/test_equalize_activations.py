# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import numpy as np
import pytest

from onnxq.pipeline.scaled import scale_factors
from tests.passes.golden import outputs, parse, same_graph
from tests.passes.stages import run

C = 16
RNG = np.random.default_rng(3)
GAIN = np.where(np.arange(C) % 8 == 3, 40.0, 1.0).astype(np.float32)
"""Two of sixteen channels are outliers, as behind the normalizations of large language models."""
BLOCK = """g (float[1,8,16] x) => (float[1,8,16] y)
<float[16] g, float[16] h, float[16,16] q, float[16,16] k, float[16,16] v, float[16,16] p,
 int64[4] s = {0,0,2,8}, int64[3] u = {0,0,16}>
{ [norm] n = LayerNormalization(x, g, h)
  [query] a = MatMul(n, q)  [key] b = MatMul(n, k)  [value] c = MatMul(n, v)
  a1 = Reshape(a, s)  b1 = Reshape(b, s)  c1 = Reshape(c, s)
  a2 = Transpose<perm=[0,2,1,3]>(a1)  b2 = Transpose<perm=[0,2,3,1]>(b1)  c2 = Transpose<perm=[0,2,1,3]>(c1)
  [logits] l = MatMul(a2, b2)  m = Softmax<axis=-1>(l)  o = MatMul(m, c2)
  o1 = Transpose<perm=[0,2,1,3]>(o)  o2 = Reshape(o1, u)  [proj] r = MatMul(o2, p)  y = Add(x, r) }"""
DATA = [{"x": RNG.normal(size=(1, 8, C)).astype(np.float32)} for _ in range(16)]
PASSES = "name-nodes,measure-shapes,"
QUANTIZE = "plan-kernels,choose-ranges,quantize-weights,insert-qdq"


def weights(**given: np.ndarray) -> dict[str, np.ndarray]:
    found = {n: RNG.normal(size=(C, C)) / 4 for n in "qkvp"}
    found |= {"g": GAIN, "h": GAIN / 10}
    return {n: np.asarray(given.get(n, w), np.float32) for n, w in found.items()}


def test_match() -> None:
    """Groups of a block of attention: the normalization's readers, values, queries and keys."""
    uneven = np.geomspace(0.02, 4, C)
    made = weights(v=RNG.normal(size=(C, C)) * uneven, q=RNG.normal(size=(C, C)) * uneven)
    before = parse(BLOCK, made, opset=17)
    model, ctx = run(BLOCK, PASSES + "equalize-activations", weights=made, data=DATA, opset=17)
    after = model.to_proto()
    same_graph(after.graph, before.graph, {})
    factors = scale_factors(model)
    assert factors["n"].shape == (1, 1, C)
    assert factors["n"][0, 0, 3] < factors["n"][0, 0, 4] / 3, "outliers go down"
    assert factors["o"].shape == (1, 2, 1, 8)
    np.testing.assert_allclose((factors["a"] * factors["b"]).reshape(-1), 1.0, rtol=1e-6)
    for feed in DATA:
        one, two = outputs(before, feed)[0], outputs(after, feed)[0]
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-4 * np.abs(one).max())
    assert {d.node for d in ctx.journal.records[-1].declines} == {"proj"}


def test_the_error_falls_where_channels_are_outliers() -> None:
    made = weights()
    reference = parse(BLOCK, made, opset=17)

    def lost(first: str) -> float:
        model, _ = run(
            BLOCK, PASSES + first + QUANTIZE, weights=made, data=DATA, opset=17, target="x86-vnni"
        )
        errors = [outputs(model.to_proto(), f)[0] - outputs(reference, f)[0] for f in DATA]
        return float(np.square(errors).mean())

    assert lost("equalize-activations,") < 0.7 * lost("")


@pytest.mark.parametrize(
    ("old", "new", "node", "reason"),
    [
        ("=> (float", "=> (float[1,8,16] n, float", "norm", "'n' is an output of the graph"),
        ("y = Add(x, r)", "y = Add(n, r)", "norm", "'y' is an output"),
        ("MatMul(n, k)", "MatMul(n, q)", "norm", "is shared or computed"),
        ("m = Softmax<axis=-1>(l)", "m = Softmax<axis=-1>(l)  e = Exp(a2)  z = ReduceSum<keepdims=1>(e)", "logits", "(Exp)"),
    ],
)  # fmt: skip
def test_declines(old: str, new: str, node: str, reason: str) -> None:
    made = weights()
    if "MatMul(n, q)" in new:
        text = BLOCK.replace(old, new).replace("float[16,16] k,", "")
        made.pop("k")
    else:
        text = BLOCK.replace(old, new)
    _, ctx = run(text, PASSES + "equalize-activations", weights=made, data=DATA, opset=17)
    found = {d.node: d.reason for d in ctx.journal.records[-1].declines}
    assert reason.lower() in found[node].lower(), found


def test_even_channels_decline_with_numbers() -> None:
    even = {n: RNG.choice([-0.25, 0.25], (C, C)) for n in "qkvp"}
    made = weights(g=np.ones(C), h=np.zeros(C), **even)
    _, ctx = run(BLOCK, PASSES + "equalize-activations", weights=made, data=DATA, opset=17)
    found = {d.node: d.reason for d in ctx.journal.records[-1].declines}
    assert "noise" in found["norm"], found
