"""Layers make up for what is rounded before them; wide weights are left."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.pipeline import Context
from tests.passes.golden import outputs, parse
from tests.passes.stages import run

RNG = np.random.default_rng(8)
MIX = RNG.normal(size=(3, 8)).astype(np.float32)
BEFORE = "plan-kernels{weights=int4},choose-ranges{method=mse},quantize-weights{method=mse}"
ROUND = f"{BEFORE},round-by-reconstruction"
AFTER = ",correct-biases-empirical,quantize-biases,insert-qdq"
CHAIN = """g (float[1,8,9,9] x) => (float[1,6,9,9] y)
    <float[8,8,3,3] w, float[8] b, float[8,1,3,3] v, float[8] c, float[6,8,1,1] u, float[6] d>
    { [one] a = Conv <pads=[1,1,1,1]> (x, w, b) [act] r = Relu (a)
      [two] k = Conv <pads=[1,1,1,1], group=8> (r, v, c) [three] y = Conv (k, u, d) }"""
WEIGHTS = {
    "w": RNG.normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32),
    "b": RNG.normal(0, 0.1, 8).astype(np.float32),
    "v": RNG.normal(0.1, 0.2, (8, 1, 3, 3)).astype(np.float32),
    "c": RNG.normal(0, 0.1, 8).astype(np.float32),
    "u": RNG.normal(0.1, 0.2, (6, 8, 1, 1)).astype(np.float32),
    "d": RNG.normal(0, 0.1, 6).astype(np.float32),
}


def images(count: int) -> list[dict[str, np.ndarray]]:
    """Samples whose channels vary alike."""
    found = []
    for _ in range(count):
        x = np.einsum("nkhw,kc->nchw", RNG.normal(size=(1, 3, 9, 9)), MIX)
        found.append({"x": (x + 0.1 * RNG.normal(size=x.shape)).astype(np.float32)})
    return found


def noise(recipe: str, data: list, fresh: list) -> float:
    model, _ = run(CHAIN, recipe + AFTER, weights=WEIGHTS, data=data, target="x86-vnni", opset=21)
    reference, quantized = parse(CHAIN, WEIGHTS), model.to_proto()
    return sum(
        float(np.square(outputs(quantized, f)[0] - outputs(reference, f)[0]).sum()) for f in fresh
    )


def declined(ctx: Context) -> dict[str, str]:
    records = ctx.journal.declines
    return {d.node: d.reason for d in records if d.pass_name == "round-by-reconstruction"}


@pytest.mark.parametrize("options", ["{steps=0}", "{segments=3,steps=100}"])
def test_the_output_of_the_chain_is_closer(options: str) -> None:
    data, fresh = images(24), images(12)
    nearest, alone = noise(BEFORE, data, fresh), noise(f"{BEFORE},round-second-order", data, fresh)
    found = noise(f"{ROUND}{options}", data, fresh)
    assert found < 0.6 * nearest and found < 1.05 * alone


def test_grids_stay_and_the_model_is_not_touched() -> None:
    data = images(12)
    _, before = run(CHAIN, BEFORE, weights=WEIGHTS, data=data, opset=21)
    model, after = run(CHAIN, ROUND, weights=WEIGHTS, data=data, opset=21)
    changed = 0
    for name in "wvu":
        np.testing.assert_array_equal(before.qparams[name].scale, after.qparams[name].scale)
        codes = np.asarray(after.integers[name]).astype(int)
        assert codes.min() >= -8 and codes.max() <= 7
        changed += int((codes != np.asarray(before.integers[name]).astype(int)).sum())
        np.testing.assert_array_equal(model.tensors()[name].values, WEIGHTS[name])
    assert changed


def test_wide_weights_are_not_looked_at() -> None:
    wide = BEFORE.replace("int4", "int8")
    _, before = run(CHAIN, wide, weights=WEIGHTS, data=images(4), opset=21)
    _, after = run(CHAIN, f"{wide},round-by-reconstruction", weights=WEIGHTS, data=images(4))
    assert not declined(after)
    for name in "wvu":
        np.testing.assert_array_equal(before.integers[name], after.integers[name])


def test_declines() -> None:
    _, ctx = run(CHAIN, f"{ROUND}{{columns=20}}", weights=WEIGHTS, data=images(4), opset=21)
    assert declined(ctx)["one"] == "its patches have 72 values each"
