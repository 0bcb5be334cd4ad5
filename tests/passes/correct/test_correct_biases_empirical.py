"""What drifts on average is taken off, layer after layer, where the activation lets it through."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxq.calibrate.channel_rows import ChannelRows, Rows
from onnxq.calibrate.statistics import Statistics
from onnxq.graph import Model
from onnxq.passes.correct._drift import ERROR, WEIGHT
from onnxq.passes.correct.correct_biases_empirical import _drift
from onnxq.pipeline.side_by_side import side_by_side
from tests.passes.golden import outputs, parse
from tests.passes.stages import run

BEFORE = "plan-kernels{weights=int4},choose-ranges,quantize-weights"
AFTER = ",quantize-biases,insert-qdq"
RNG = np.random.default_rng(3)
CHAIN = """g (float[1,6,9,9] x) => (float[1,4,5,5] y)
    <float[8,6,3,3] w, float[8] b, float[4,8,3,3] v, float[4] c>
    { [one] a = Conv (x, w, b) [act] r = Relu (a) [two] y = Conv (r, v, c) }"""
WEIGHTS = {
    "w": RNG.normal(0.05, 0.2, (8, 6, 3, 3)).astype(np.float32),
    "b": RNG.normal(0, 0.1, 8).astype(np.float32),
    "v": RNG.normal(0.1, 0.2, (4, 8, 3, 3)).astype(np.float32),
    "c": RNG.normal(0, 0.1, 4).astype(np.float32),
}
IMAGES = [{"x": RNG.uniform(0, 1, (1, 6, 9, 9)).astype(np.float32)} for _ in range(16)]
FRESH = [{"x": RNG.uniform(0, 1, (1, 6, 9, 9)).astype(np.float32)} for _ in range(16)]


def mean_error(correct: str, samples: list[dict[str, np.ndarray]]) -> float:
    """Largest mean error of an output channel of the emitted model."""
    model, _ = run(
        CHAIN, BEFORE + correct + AFTER, weights=WEIGHTS, data=IMAGES, target="x86-vnni", opset=21
    )
    reference, quantized = parse(CHAIN, WEIGHTS), model.to_proto()
    errors = [outputs(quantized, f)[0] - outputs(reference, f)[0] for f in samples]
    return float(np.abs(np.mean(errors, axis=0).mean(axis=(0, 2, 3))).max())


def test_drift_of_the_whole_chain_is_taken_off() -> None:
    without = mean_error("", FRESH)
    found = mean_error(",correct-biases-empirical", FRESH)
    assert found < without / 5


def test_the_second_layer_does_not_repeat_what_the_first_one_corrects() -> None:
    """The first bias is far off after rounding; the second bias must stay as it would alone."""
    recipe = BEFORE + ",correct-biases-empirical"
    _, ctx = run(CHAIN, recipe, weights=WEIGHTS, data=IMAGES, target="x86-vnni", opset=21)
    codes = np.asarray(ctx.integers["v"])
    error = (ctx.qparams["v"].dequantize(codes) - WEIGHTS["v"]).astype(np.float64)
    relu = "g (float[1,6,9,9] x) => (float[1,8,7,7] r)"
    relu += " <float[8,6,3,3] w, float[8] b> { a = Conv (x, w, b) r = Relu (a) }"
    part = parse(relu, {k: WEIGHTS[k] for k in ("w", "b")})
    mean = np.mean([outputs(part, f)[0] for f in IMAGES], axis=0).mean(axis=(0, 2, 3))
    alone = WEIGHTS["c"] - error.sum(axis=(2, 3)) @ mean
    step = np.abs(alone - WEIGHTS["c"]).max()
    assert np.abs(ctx.biases["c"] - alone).max() < 0.3 * step


def test_some_rows_of_large_results_are_enough_and_small_ones_come_too() -> None:
    """The first sample has 98 rows of 98, of which each twelfth is looked at; another has 3."""
    text = CHAIN.replace("9,9", "H,W").replace("5,5", "h,w")
    sizes = [100] * 3 + [5]
    data = [{"x": RNG.uniform(0, 1, (1, 6, n, n)).astype(np.float32)} for n in sizes]
    found = []
    for correct in ("", ",correct-biases-empirical"):
        model, _ = run(
            text, BEFORE + correct + AFTER, weights=WEIGHTS, data=data, target="x86-vnni", opset=21
        )
        quantized, reference = model.to_proto(), parse(text, WEIGHTS)
        error = outputs(quantized, data[0])[0] - outputs(reference, data[0])[0]
        found.append(np.abs(error.mean(axis=(0, 2, 3))).max())
    assert found[1] < found[0] / 5


def test_where_the_relu_is_closed_errors_do_not_count() -> None:
    text = """g (float[1,1,1,4] x) => (float[1,1,1,4] r) <float[1,1,1,1] w, float[1] b>
        { [conv] a = Conv (x, w, b) r = Relu (a) }"""
    data = [{"x": np.float32([[[[1.005, -2.003, -3.109, -4.0]]]])}] * 4
    weights = {"w": np.float32([[[[1.0]]]]), "b": np.float32([0.0])}
    model, ctx = run(text, "plan-kernels,choose-ranges,quantize-weights,correct-biases-empirical",
                     weights=weights, data=data, target="x86-vnni")  # fmt: skip
    grid = ctx.qparams["x"]
    errors = grid.dequantize(grid.quantize(data[0]["x"])) - data[0]["x"]
    assert abs(errors[0, 0, 0, 1:].mean()) > 1e-4
    np.testing.assert_allclose(ctx.biases["b"], -errors[0, 0, 0, 0], atol=5e-4 * 4)
    assert model.tensors()["b"].values == 0.0


def test_a_clipped_value_does_not_shift_all_others() -> None:
    """Of 400 values one is far beyond the range: its error alone would be a mean of 0.2."""
    text = """g (float[1,1,20,20] x) => (float[1,1,20,20] a) <float[1,1,1,1] w, float[1] b>
        { [conv] a = Conv (x, w, b) }"""
    image = RNG.uniform(-1, 1, (1, 1, 20, 20)).astype(np.float32)
    image[0, 0, 7, 7] = 80.0
    weights = {"w": np.float32([[[[1.0]]]]), "b": np.float32([0.0])}
    recipe = "plan-kernels,choose-ranges{method=percentile,percentile=99},quantize-weights"
    _, ctx = run(text, recipe + ",correct-biases-empirical", weights=weights,
                 data=[{"x": image}] * 4, target="x86-vnni")  # fmt: skip
    assert ctx.qparams["x"].real_range[1] < 2
    assert abs(float(ctx.biases["b"][0])) < 0.01


def test_declines_without_a_bias_and_writes_nothing_into_the_model() -> None:
    text = CHAIN.replace("(x, w, b)", "(x, w)").replace(", float[8] b", "")
    weights = {k: v for k, v in WEIGHTS.items() if k != "b"}
    model, ctx = run(text, BEFORE + ",correct-biases-empirical", weights=weights, data=IMAGES)
    reasons = [d.node for d in ctx.journal.declines if "constant bias" in d.reason]
    assert reasons == ["one"]
    assert set(ctx.biases) == {"c"}
    np.testing.assert_array_equal(model.tensors()["c"].values, WEIGHTS["c"])


def test_gemm_and_matmul_with_an_add() -> None:
    text = """g (float[N,6] x) => (float[N,3] y)
        <float[6,5] w, float[5] b, float[5,3] v, float[3] c>
        { [fc] a = Gemm (x, w, b) [mm] m = MatMul (a, v) [add] y = Add (m, c) }"""
    data = [{"x": RNG.uniform(0, 1, (7, 6)).astype(np.float32)} for _ in range(8)]
    _, ctx = run(text, BEFORE + ",correct-biases-empirical", data=data, target="x86-vnni")
    assert "b" in ctx.biases
    assert all(np.isfinite(v).all() for v in ctx.biases.values())


@pytest.mark.parametrize(
    ("spread", "kept"), [(0.0, 1.0), (1.0, 4 / (4 + 1 / 9)), (1e4, 4 / (4 + 1e4 / 9))]
)
def test_what_samples_cannot_tell_from_chance_is_left(spread: float, kept: float) -> None:
    """Drift 2 with variance *spread* over 10 samples."""
    observer = ChannelRows(1)

    def state(*values: float) -> dict[ChannelRows, Rows]:
        return {observer: tuple((i, np.float32([v])) for i, v in enumerate(values))}

    off = [2 + (-1) ** i * spread**0.5 for i in range(10)]
    weight, error = state(*[1.0] * 10), state(*off)
    found = Statistics({ERROR + "n": error, WEIGHT + "n": weight}, 10)
    drift = _drift("n", observer, found, weighted=True, robust=True)
    assert drift[0] == pytest.approx(2.0 * kept, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("behind", "left"),
    [("", False), ("[relu] y = Relu (a)", False), ("[s] p = Sigmoid (a) [m] y = Mul (a, p)", True)],
    ids=["linear", "relu", "silu"],
)
def test_a_sample_far_off_does_not_shift_all_others(behind: str, left: bool) -> None:
    """In one image of 16 all of a channel is beyond the range: a mean would be off by 5 / 16.

    Behind a SiLU it is the sample that counts most.
    """
    end = "y" if behind else "a"
    text = f"""g (float[1,1,4,4] x) => (float[1,1,4,4] {end}) <float[1,1,1,1] w, float[1] b>
        {{ [conv] a = Conv (x, w, b) {behind} }}"""
    images = [RNG.uniform(-1, 1, (1, 1, 4, 4)).astype(np.float32) for _ in range(16)]
    images[5] = images[5] * 0.01 + 6
    recipe = "plan-kernels,choose-ranges{method=percentile,percentile=90},quantize-weights"
    _, ctx = run(text, recipe + ",correct-biases-empirical",
                 weights={"w": np.float32([[[[1.0]]]]), "b": np.float32([0.0])},
                 data=[{"x": image} for image in images], target="x86-vnni")  # fmt: skip
    assert ctx.qparams["x"].real_range[1] < 2
    assert (abs(float(ctx.biases["b"][0])) > 0.01) == left


def test_side_by_side_computes_both() -> None:
    proto = parse(CHAIN, WEIGHTS)
    joined = side_by_side(proto, proto, "twin__")
    joined.graph.output.append(onnx.ValueInfoProto(name="twin__y"))
    one, two = outputs(Model.load(joined).to_proto(), IMAGES[0])
    np.testing.assert_array_equal(one, two)
    assert len(joined.graph.initializer) == 8


def test_a_layer_without_bias_runs_on_its_own_scales() -> None:
    """A row of weights a thousand times larger: on one scale for all, the others would be 0."""
    text = """g (float[1,6,9,9] x) => (float[1,4,9,9] y)
        <float[8,6,1,1] w, float[4,8,1,1] v, float[4] c>
        { [one] a = Conv (x, w) [two] y = Conv (a, v, c) }"""
    w = np.abs(RNG.normal(1, 0.3, (8, 6, 1, 1))).astype(np.float32)
    w[0], w[1:, 0] = 0, 0
    w[0, 0] = 1000
    v = np.abs(RNG.normal(1, 0.3, (4, 8, 1, 1))).astype(np.float32)
    weights = {"w": w, "v": v, "c": np.zeros(4, np.float32)}
    small = np.array([0.004, 1, 1, 1, 1, 1], np.float32).reshape(1, 6, 1, 1)
    data = [{"x": f["x"] * small} for f in IMAGES]
    _, ctx = run(text, "plan-kernels{activations=uint16},choose-ranges,quantize-weights,"
                 "correct-biases-empirical", weights=weights, data=data, target="x86-vnni",
                 opset=21)  # fmt: skip
    mean = np.mean([outputs(parse(text, weights), f)[0] for f in data], axis=(0, 1, 3, 4))
    assert np.abs(ctx.biases["c"]).max() < 0.02 * mean.min()
