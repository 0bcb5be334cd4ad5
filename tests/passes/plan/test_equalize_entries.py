"""Golden test of equalize-entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxq.graph import constant_value
from onnxq.pipeline.scaled import scale_factors
from onnxq.runtime.session import Session
from tests.passes.golden import parse
from tests.passes.plan.borders import noise
from tests.passes.stages import run

RNG = np.random.default_rng(5)
TEXT = """g (float[16,16] x) => (float[16,12] y) <float[16,16] w, float[16,12] v>
    { [first] a = MatMul (x, w)  [gelu] b = Tanh (a)  [up] c = Mul (a, b)
      [down] y = MatMul (c, v) }"""
LARGE = np.where(np.arange(16) == 3, 3, 0.1)
"""One channel is an outlier, as behind the Gelu of an encoder."""
WEIGHTS = {
    "w": np.asarray(RNG.normal(size=(16, 16)) * LARGE, np.float32),
    "v": np.asarray(RNG.normal(size=(16, 12)) / LARGE[:, None], np.float32),
}
DATA = [{"x": RNG.normal(size=(16, 16)).astype(np.float32)} for _ in range(24)]
PLAN = 'name-nodes,measure-shapes,exclude-nodes{patterns=["gelu","up"]},plan-kernels'
EMIT = "choose-ranges,quantize-weights,insert-qdq"
GIVEN: dict[str, Any] = {"weights": WEIGHTS, "data": DATA, "target": "x86-vnni"}


def test_match() -> None:
    model, ctx = run(TEXT, f"{PLAN},equalize-entries", **GIVEN)
    product = next(n for n in model.nodes() if n.name not in ("first", "gelu", "up", "down"))
    a, even = constant_value(product.inputs[1]), product.outputs[0].name
    assert product.op == "Mul" and product.inputs[0].name == "c"
    assert a is not None and a.shape == (16,) and a[3] < a[4] / 3, "the outlier goes down"
    reader = next(n for n in model.nodes() if n.name == "down")
    np.testing.assert_allclose(
        constant_value(reader.inputs[1]), WEIGHTS["v"] / a[:, None], rtol=1e-5
    )
    assert even in ctx.plan.tensors and "c" not in ctx.plan.tensors
    np.testing.assert_allclose(scale_factors(model)[even], a)
    one, two = (Session(m).run(DATA[0])["y"] for m in (parse(TEXT, WEIGHTS), model.to_proto()))
    np.testing.assert_allclose(two, one, atol=1e-4 * np.abs(one).max())


def test_the_error_falls() -> None:
    wanted = Session(parse(TEXT, WEIGHTS)).run(DATA[0])
    plain, _ = run(TEXT, f"{PLAN},{EMIT}", **GIVEN)
    even, _ = run(TEXT, f"{PLAN},equalize-entries,{EMIT}", **GIVEN)
    before, after = (noise(Session(m.to_proto()).run(DATA[0]), wanted) for m in (plain, even))
    assert after < before / 4


def test_declines() -> None:
    """Another runtime; few samples; a sum that reads the tensor too; nothing to gain."""
    elsewhere, ctx = run(TEXT, f"{PLAN},equalize-entries", **{**GIVEN, "target": "openvino"})
    assert len(list(elsewhere.nodes())) == 4 and "c" in ctx.plan.tensors
    short = TEXT.replace("float[16,16] x", "float[2,16] x").replace(
        "float[16,12] y", "float[2,12] y"
    )
    rows = [{"x": feed["x"][:2]} for feed in DATA]
    _, ctx = run(short, f"{PLAN},equalize-entries", **{**GIVEN, "data": rows})
    assert any("48 values of each channel" in d.reason for d in ctx.journal.declines)
    summed = TEXT.replace("(float[16,12] y)", "(float[16,12] y, float[16,12] q)").replace(
        "[down]", "[sum] z = Add (c, a)  [again] q = MatMul (z, v)  [down]"
    )
    _, ctx = run(summed, f"{PLAN},equalize-entries", **GIVEN)
    assert any("'sum' (Add) reads 'c' on integers too" in d.reason for d in ctx.journal.declines)
    same = {k: np.ones_like(v) for k, v in WEIGHTS.items()}
    _, ctx = run(TEXT, f"{PLAN},equalize-entries", **{**GIVEN, "weights": same})
    assert any("noise to signal" in d.reason for d in ctx.journal.declines)
