from __future__ import annotations

import numpy as np

from tests.passes.golden import outputs, parse
from tests.passes.stages import run

CHOOSE = "plan-kernels,choose-ranges,quantize-weights,correct-biases"
CONV = """g (float[1,6,5,5] x) => (float[1,4,3,3] y)
    <float[4,3,3,3] w, float[4] b> { [conv] y = Conv <group = 2> (x, w, b) }"""
GEMM = """g (float[5,6] x) => (float[5,3] y)
    <float[3,6] w, float[3] b> { [fc] y = Gemm <transB = 1> (x, w, b) }"""
RNG = np.random.default_rng(0)
IMAGES = [{"x": RNG.uniform(0, 1, (1, 6, 5, 5)).astype(np.float32)} for _ in range(8)]
ROWS = [{"x": RNG.uniform(0, 1, (5, 6)).astype(np.float32)} for _ in range(8)]


def mean_error(text: str, data: list[dict[str, np.ndarray]], *, corrected: bool) -> np.ndarray:
    """Mean error of each output channel, the weights rounded and the bias as chosen."""
    recipe = CHOOSE if corrected else CHOOSE.rsplit(",", 1)[0]
    recipe = recipe.replace("plan-kernels", "plan-kernels{weights=int4}")
    model, ctx = run(text, recipe, data=data, target="x86-vnni")
    tensors = model.tensors()
    reference = model.to_proto()
    w = tensors["w"]
    w.values = ctx.qparams["w"].dequantize(np.asarray(ctx.integers["w"])).astype(np.float32)
    if corrected:
        tensors["b"].values = ctx.biases["b"]
    total = []
    for feed in data:
        (real,), (found,) = outputs(reference, feed), outputs(model.to_proto(), feed)
        error = found.astype(np.float64) - real
        total.append(error.mean(axis=tuple(i for i in range(error.ndim) if i != 1)))
    return np.abs(np.mean(total, axis=0))


def test_conv_in_groups() -> None:
    before = mean_error(CONV, IMAGES, corrected=False)
    after = mean_error(CONV, IMAGES, corrected=True)
    assert after.max() < before.max() / 3


def test_gemm_is_exact() -> None:
    before = mean_error(GEMM, ROWS, corrected=False)
    after = mean_error(GEMM, ROWS, corrected=True)
    assert before.max() > 0.01
    assert after.max() < 1e-5


def test_formula() -> None:
    text = "g (float[1,2,1,1] x) => (float[1,1,1,1] y) <float[1,2,1,1] w, float[1] b>"
    text += "{ [conv] y = Conv (x, w, b) }"
    weights = {"w": np.float32([[[[1.0]], [[0.301]]]]), "b": np.float32([0.5])}
    data = [{"x": np.full((1, 2, 1, 1), v, np.float32)} for v in (1.0, 3.0)]
    _, ctx = run(text, CHOOSE, weights=weights, data=data, target="x86-vnni")
    rounded = np.rint(0.301 * 127) / 127
    np.testing.assert_allclose(ctx.biases["b"], [0.5 - 2.0 * (rounded - 0.301)], rtol=1e-5)


def test_declines_without_a_bias() -> None:
    text = CONV.replace(", b)", ")").replace(", float[4] b", "")
    _, ctx = run(text, CHOOSE, data=IMAGES)
    assert [(d.node, d.reason) for d in ctx.journal.declines] == [
        ("conv", "it has no bias to correct")
    ]
    assert not ctx.biases


def test_nothing_is_written_into_the_model() -> None:
    model, _ = run(CONV, CHOOSE, data=IMAGES)
    wanted = {t.name: t.raw_data for t in parse(CONV).graph.initializer}
    assert {t.name: t.raw_data for t in model.to_proto().graph.initializer} == wanted
