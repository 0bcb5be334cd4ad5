from __future__ import annotations

import numpy as np

from onnxq.graph.deferred import Deferred
from tests.passes.stages import run

TEXT = """g (float[2,40] x) => (float[2,6] y) <float[40,6] w> { [mm] y = MatMul (x, w) }"""
RNG = np.random.default_rng(0)
W = RNG.normal(size=(40, 6)).astype(np.float32)


def test_each_block_has_its_scale() -> None:
    _, ctx = run(TEXT, "plan-weights{weights=int4,block=16,min_values=1},round-weights",
                 weights={"w": W})  # fmt: skip
    blocks = ctx.blocks["w"]
    assert blocks.scale.shape == (3, 6), "the last block is shorter"
    padded = np.concatenate([W, np.zeros((8, 6), np.float32)]).reshape(3, 16, 6)
    high, low = padded.max(1), -padded.min(1)
    # -8 is the end that reaches further, with a negative scale where that is the upper one
    wanted = np.where(high > low, -np.maximum(low / 7, high / 8), np.maximum(high / 7, low / 8))
    np.testing.assert_allclose(blocks.scale, wanted, rtol=1e-6)
    codes = blocks.quantize(W)
    assert codes.dtype == blocks.stored
    steps = np.repeat(blocks.scale, 16, axis=0)[:40]
    assert np.abs(blocks.dequantize(codes) - W).max() <= np.abs(steps).max() / 2 + 1e-6


def test_clipping_lowers_the_error() -> None:
    heavy = (W**3).astype(np.float32)
    errors = {}
    for method in ("minmax", "mse"):
        recipe = f"plan-weights{{weights=int4,min_values=1}},round-weights{{method={method}}}"
        _, ctx = run(TEXT, recipe, weights={"w": heavy}, target="generic")  # scales above zero
        blocks = ctx.blocks["w"]
        errors[method] = float(np.square(blocks.dequantize(blocks.quantize(heavy)) - heavy).sum())
    assert errors["mse"] < 0.9 * errors["minmax"]


def test_pairs_of_codes_are_limited() -> None:
    large = np.full((40, 6), 3.0, np.float32)
    _, ctx = run(TEXT, "plan-dynamic{min_values=1},round-weights", weights={"w": large})
    codes = ctx.blocks["w"].quantize(large).astype(int)
    assert (codes[0::2] + codes[1::2]).max() == 128
    _, ctx = run(
        TEXT, "plan-dynamic{min_values=1},round-weights", weights={"w": large}, target="x86-vnni"
    )
    assert ctx.blocks["w"].quantize(large).max() == 127


def test_a_weight_that_is_not_finite_stays_in_float() -> None:
    broken = W.copy()
    broken[3, 3] = np.inf
    _, ctx = run(TEXT, "plan-weights{min_values=1},round-weights", weights={"w": broken})
    assert not ctx.plan.nodes and not ctx.blocks
    assert "NaN or Inf" in ctx.plan.kept_float["mm"]


def test_weights_are_read_and_not_kept(tmp_path) -> None:
    from onnxq.graph import Model
    from onnxq.pipeline import Context, PassManager, Recipe
    from onnxq.targets import get_target
    from tests.passes.golden import parse

    model = Model.load(parse(TEXT, {"w": W}))
    ctx = Context(target=get_target("x86"))
    recipe = "plan-weights{min_values=1},round-weights,store-weights"
    PassManager(Recipe.parse(recipe).passes).run(model, ctx)
    (codes,) = [t for n, t in model.tensors().items() if n == "w__q"]
    assert isinstance(codes._values, Deferred)
    model.save(tmp_path / "m.onnx")
    assert isinstance(codes._values, Deferred), "computed for the file, and forgotten"
    loaded = Model.load(tmp_path / "m.onnx").tensors()["w__q"]
    np.testing.assert_array_equal(loaded.values, ctx.blocks["w"].quantize(W))  # type: ignore[attr-defined]


def test_scales_of_either_sign_use_every_code() -> None:
    errors = {}
    for target in ("generic", "x86"):
        recipe = "plan-weights{weights=int2,min_values=1},round-weights{method=mse}"
        _, ctx = run(TEXT, recipe, weights={"w": W}, target=target, opset=25)
        blocks = ctx.blocks["w"]
        assert (blocks.scale < 0).any() == (target == "x86")
        errors[target] = float(np.square(blocks.dequantize(blocks.quantize(W)) - W).sum())
    assert errors["x86"] < 0.9 * errors["generic"]
