"""Golden test of equalize-entries."""

from __future__ import annotations

import numpy as np

from onnxq.graph import constant_value
from onnxq.runtime.session import Session
from tests.passes.golden import parse
from tests.passes.plan.borders import DATA, EMIT, PLAN, TEXT, UNEVEN, WEIGHTS, C, noise
from tests.passes.stages import run

# what the float convolution hands on differs, and weights behind make up for it
OUTLIERS = {
    **WEIGHTS,
    "d": np.ones_like(WEIGHTS["d"]),
    "v": np.asarray(WEIGHTS["v"] / UNEVEN.reshape(1, C, 1, 1), np.float32),
}


def test_match() -> None:
    model, ctx = run(TEXT, f"{PLAN},equalize-entries", weights=OUTLIERS, data=DATA)
    product = next(n for n in model.nodes() if n.op == "Mul")
    a = constant_value(product.inputs[1])
    assert product.inputs[0].name == "c" and a is not None and a.shape == (1, C, 1, 1)
    reader = next(n for n in model.nodes() if n.name == "next")
    np.testing.assert_allclose(
        constant_value(reader.inputs[1]), OUTLIERS["v"] / a, rtol=1e-5, atol=1e-6
    )
    assert product.outputs[0].name in ctx.plan.tensors and "c" not in ctx.plan.tensors
    one = Session(parse(TEXT, OUTLIERS)).run(DATA[0])["y"]
    two = Session(model.to_proto()).run(DATA[0])["y"]
    np.testing.assert_allclose(two, one, atol=1e-4 * np.abs(one).max())


def test_the_error_falls_and_no_node_more_runs() -> None:
    wanted = Session(parse(TEXT, OUTLIERS)).run(DATA[0])
    plain, _ = run(TEXT, f"{PLAN},{EMIT}", weights=OUTLIERS, data=DATA)
    even, _ = run(TEXT, f"{PLAN},equalize-entries,{EMIT}", weights=OUTLIERS, data=DATA)
    before, after = (noise(Session(m.to_proto()).run(DATA[0]), wanted) for m in (plain, even))
    assert after < 0.8 * before
    assert "Mul" not in {n.op for n in even.nodes()}


def test_declines() -> None:
    """Another runtime; a sum that reads the tensor on integers too; nothing to gain."""
    _, ctx = run(TEXT, f"{PLAN},equalize-entries", weights=OUTLIERS, data=DATA, target="openvino")
    assert "c" in ctx.plan.tensors
    summed = TEXT.replace("[float3] f = Tanh (e)", "[sum] f = Add (e, c)")
    _, ctx = run(summed, f"{PLAN},equalize-entries", weights=OUTLIERS, data=DATA)
    assert "c" in ctx.plan.tensors
    assert any("'sum' (Add) reads 'c' on integers too" in d.reason for d in ctx.journal.declines)
    same = np.eye(C, dtype=np.float32).reshape(C, C, 1, 1)
    alike = {**OUTLIERS, "w": same, "v": same, "b": np.zeros(C, np.float32)}
    data = [{"x": np.repeat(feed["x"][:, :1], C, axis=1)} for feed in DATA]
    _, ctx = run(TEXT, f"{PLAN},equalize-entries", weights=alike, data=data)
    assert any("noise to signal" in d.reason for d in ctx.journal.declines)


def test_outliers_in_front_of_a_product_of_matrices() -> None:
    """As behind a Gelu: a few channels of a few rows are a hundred times larger."""
    rng = np.random.default_rng(5)
    text = """g (float[16,16] x) => (float[16,12] y) <float[16,16] w, float[16,12] v>
        { [first] a = MatMul (x, w)  [gelu] b = Tanh (a)  [up] c = Mul (a, b)
          [down] y = MatMul (c, v) }"""
    large = np.where(np.arange(16) == 3, 3, 0.1)
    weights = {
        "w": rng.normal(size=(16, 16)) * large,
        "v": rng.normal(size=(16, 12)) / large[:, None],
    }
    weights = {k: w.astype(np.float32) for k, w in weights.items()}
    data = [{"x": rng.normal(size=(16, 16)).astype(np.float32)} for _ in range(16)]
    recipe = 'exclude-nodes{patterns=["gelu","up"]},plan-kernels'
    wanted = Session(parse(text, weights)).run(data[0])
    quantize = "choose-ranges,quantize-weights,insert-qdq"
    given = {"weights": weights, "data": data, "target": "x86-vnni"}
    plain, _ = run(text, f"{recipe},{quantize}", **given)
    even, _ = run(text, f"{recipe},equalize-entries,{quantize}", **given)
    before, after = (noise(Session(m.to_proto()).run(data[0]), wanted) for m in (plain, even))
    assert after < before / 4
