from __future__ import annotations

import numpy as np

from onnxq.pipeline.scaled import scale_factors
from tests.passes.golden import outputs, parse, same_graph
from tests.passes.stages import run

C = 32
RNG = np.random.default_rng(3)
GAIN = np.where(np.arange(C) % 8 == 3, 30.0, 1.0).astype(np.float32)
TEXT = """g (float[1,8,32] x) => (float[1,8,16] y, float[1,8,16] z, float[1,8,32] r)
    <float[32] g, float[32] h, float[32,16] w, float[32,16] v, float[32,32] p>
    { [norm] n = LayerNormalization (x, g, h)  [one] y = MatMul (n, w)  [two] z = MatMul (n, v)
      [out] m = MatMul (x, p)  [res] r = Add (x, m) }"""
DATA = [{"x": RNG.normal(size=(1, 8, C)).astype(np.float32)} for _ in range(16)]
OPTIONS = "{weights=int4,block=32}"
PASSES = f"name-nodes,measure-shapes,protect-salient-channels{OPTIONS}"
STORE = f"plan-weights{OPTIONS},round-weights{{method=mse}},store-weights"


def weights(gain: np.ndarray = GAIN) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = {"w": (C, 16), "v": (C, 16), "p": (C, C)}
    made = {n: rng.normal(size=s).astype(np.float32) / 4 for n, s in shapes.items()}
    return made | {"g": gain, "h": np.zeros(C, np.float32)}


def test_match() -> None:
    """Weights that meet large values grow, and the normalization's gain shrinks."""
    before = parse(TEXT, weights(), opset=21)
    model, ctx = run(TEXT, PASSES, weights=weights(), data=DATA, opset=21)
    after = model.to_proto()
    same_graph(after.graph, before.graph, {})
    factors = scale_factors(model)["n"].reshape(-1)
    assert factors[GAIN > 1].max() < 0.7 * factors[GAIN == 1].min()
    for feed in DATA[:2]:
        for one, two in zip(outputs(before, feed), outputs(after, feed), strict=True):
            np.testing.assert_allclose(two, one, rtol=0, atol=1e-4 * np.abs(one).max())
    assert {d.node for d in ctx.journal.records[-1].declines} == set(), "what nothing reads is left"


def test_the_error_of_the_outputs_falls() -> None:
    reference = parse(TEXT, weights(), opset=21)

    def lost(recipe: str) -> float:
        model, _ = run(TEXT, recipe, weights=weights(), data=DATA, opset=21)
        feed = {"x": np.random.default_rng(9).normal(size=(1, 8, C)).astype(np.float32)}
        pairs = zip(outputs(reference, feed), outputs(model.to_proto(), feed), strict=True)
        return sum(float(np.square(a - b).sum()) for a, b in [*pairs][:2])

    assert lost(f"{PASSES},{STORE}") < 0.6 * lost(f"name-nodes,{STORE}")


def test_declines_where_it_gains_nothing_and_where_channels_go_elsewhere() -> None:
    even = weights(np.ones(C, np.float32))  # and weights that 4 bits hold exactly
    rng = np.random.default_rng(1)
    even |= {n: (rng.integers(-4, 4, (C, 16)) * 2.0).astype(np.float32) for n in "wv"}
    for n in "wv":
        even[n][0] = -16.0
    model, ctx = run(TEXT, PASSES, weights=even, data=DATA, opset=21)
    assert [(d.node, d.reason) for d in ctx.journal.records[-1].declines] == [
        ("norm", "no strength lowers the noise")
    ]
    assert not scale_factors(model)
    shared = TEXT.replace("[res] r = Add (x, m)", "[res] r = Add (n, m)")
    model, ctx = run(shared, PASSES, weights=weights(), data=DATA, opset=21)
    assert not scale_factors(model)
    reasons = {(d.node, d.reason) for d in ctx.journal.records[-1].declines}
    assert reasons == {(n, "'r' is an output of the graph") for n in ("norm", "out")}
