# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxq.calibrate.channel_extremes import ChannelExtremesState
from onnxq.calibrate.driver import calibrate
from onnxq.calibrate.observer import AnyObserver
from onnxq.calibrate.parted_extremes import PartedExtremes, PartedExtremesState
from onnxq.calibrate.patch_samples import PatchSamples
from onnxq.calibrate.statistics import Statistics
from onnxq.graph import Model
from onnxq.passes.equalize._balance import Reading, balance, noise
from onnxq.passes.equalize.equalize_cross_layer import EqualizeCrossLayer
from onnxq.pipeline import Context, PassManager
from onnxq.pipeline.scaled import scaled_tensors
from onnxq.quant import PerAxis
from onnxq.targets import get_target
from tests.passes.golden import apply, check, context, outputs, parse
from tests.passes.stages import run

PASS = EqualizeCrossLayer()
RANGES = [8.0, 4.0, 0.05]
A = np.array([1.0, 2.0, 64.0])  # the last one capped

BEFORE = """g (float[1,3,6,6] x) => (float[1,3,6,6] y)
<float[3,3,1,1] w, float[3] b, float[3,1,3,3] v>
{ [conv] c = Conv(x, w, b)  [relu] m = Relu(c)
  [read]  y = Conv<group=3, pads=[1,1,1,1]>(m, v) }"""
AFTER = """g (float[1,3,6,6] x) => (float[1,3,6,6] y)
<float[3,3,1,1] w2, float[3] b2, float[3,1,3,3] v2>
{ c = Conv(x, w2, b2)  m = Relu(c)
  y = Conv<group=3, pads=[1,1,1,1]>(m, v2) }"""
SIX = BEFORE.replace("Relu(c)", "Clip(c, zero, six)").replace(
    "float[3,1,3,3] v>", "float[3,1,3,3] v, float zero = {0}, float six = {6}>"
)


def ctx(*, axis: bool = True, **ranges: list[float]) -> Context:
    """A context in which the channels of tensors reach the given magnitudes."""
    made = context()
    if axis:
        weights = replace(made.target.weights, granularity=PerAxis(0))
        made.target = replace(made.target, weights=weights)
    made.statistics = Statistics(
        {
            name: {PartedExtremes(): PartedExtremesState(_seen(high), _seen(high[:0]), 0, 32)}
            for name, high in ((n, np.array(v, np.float32)) for n, v in ranges.items())
        },
        samples=1,
    )
    return made


def stored(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}


def _seen(high: np.ndarray) -> ChannelExtremesState:
    return ChannelExtremesState(0 * high, high)


def test_match() -> None:
    w = stored(parse(BEFORE))
    expected = {
        "w2": w["w"] * A.reshape(3, 1, 1, 1),
        "b2": w["b"] * A,
        "v2": w["v"] / A.reshape(3, 1, 1, 1),
    }
    expected = {n: v.astype(np.float32) for n, v in expected.items()}
    used = ctx(m=RANGES)
    result = check(PASS, BEFORE, AFTER, ctx=used, expected=expected)
    assert scaled_tensors(Model.load(result)) == {"c", "m"}
    assert not used.statistics.states, "what was measured of a scaled tensor is stale"


def test_a_clip_limits_the_factor_by_what_was_reached() -> None:
    result, _ = apply(PASS, parse(SIX), ctx(m=[6.0, 3.0, 2.0]))
    ratio = stored(result)["w"] / stored(parse(SIX))["w"]
    np.testing.assert_allclose(ratio[:, 0, 0, 0], [1.0, 2.0, 3.0], rtol=1e-6)


def test_a_clip_of_other_bounds_declines() -> None:
    check(
        PASS,
        SIX.replace("zero = {0}", "zero = {-1}"),
        ctx=ctx(m=RANGES),
        declines=[("conv", "reaches")],
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BEFORE.replace("=> (", "=> (float[1,3,6,6] m, "), "'m' is an output of the graph"),
        (BEFORE.replace("[read]", "[exp] n = Exp(m)  [read]"), "reaches 'exp' (Exp)"),
    ],
)
@pytest.mark.parametrize("axis", [True, False])
def test_declines(text: str, reason: str, axis: bool) -> None:
    check(PASS, text, ctx=ctx(axis=axis, m=RANGES), declines=[("conv", reason)])


def test_even_ranges_decline() -> None:
    check(PASS, BEFORE, ctx=ctx(m=[2.0, 2.0, 2.0]), declines=[("conv", "would not go down")])


def test_channels_that_meet_in_a_sum_share_a_factor() -> None:
    text = """g (float[1,3,4,4] x) => (float[1,2,4,4] y)
        <float[3,3,1,1] w, float[3] b, float[3,3,1,1] u, float[3] d, float[2,3,1,1] v>
        { [one] p = Conv(x, w, b)  [two] q = Conv(x, u, d)  s = Add(p, q)  r = Relu(s)  y = Conv(r, v) }"""
    before, used = stored(parse(text)), ctx(p=[9.0, 1.0, 0.1], q=[0.2, 1.0, 0.1], r=[9.0, 2.0, 0.2])
    result, _ = apply(PASS, parse(text), used)
    one = (stored(result)["w"] / before["w"])[:, 0, 0, 0]
    two = (stored(result)["u"] / before["u"])[:, 0, 0, 0]
    np.testing.assert_allclose(one, two, rtol=1e-6)
    assert one[0] == pytest.approx(1.0)
    assert one[2] > one[1] > 1.5


def test_the_function_stays_and_the_error_falls() -> None:
    """A net with unequal channels behind ReLU6, through the whole chain of passes."""
    rng = np.random.default_rng(0)
    text = """g (float[1,4,8,8] x) => (float[1,4,8,8] y)
        <float[8,4,1,1] w, float[8] b, float[8,1,3,3] d, float[8] e, float[4,8,1,1] v, float zero = {0}, float six = {6}>
        { c = Conv(x, w, b)  m = Clip(c, zero, six)  f = Conv<group=8, pads=[1,1,1,1]>(m, d, e)
          n = Clip(f, zero, six)  y = Conv(n, v) }"""
    size = np.geomspace(0.01, 2, 8).astype(np.float32)
    weights = {
        "w": rng.normal(0, 1, (8, 4, 1, 1)).astype(np.float32) * size[:, None, None, None],
        "b": np.zeros(8, np.float32), "e": np.zeros(8, np.float32),
        "d": rng.uniform(0, 0.3, (8, 1, 3, 3)).astype(np.float32),
        "v": rng.normal(0, 1, (4, 8, 1, 1)).astype(np.float32) / size[None, :, None, None],
    }  # fmt: skip
    data = [{"x": rng.normal(0, 1, (1, 4, 8, 8)).astype(np.float32)} for _ in range(8)]
    reference = parse(text, weights)
    equal, _ = run(
        text, "name-nodes,measure-shapes,equalize-cross-layer", weights=weights, data=data
    )
    for feed in data:
        one, two = outputs(reference, feed)[0], outputs(equal.to_proto(), feed)[0]
        np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-4)

    def lost(first: str) -> float:
        recipe = f"name-nodes,measure-shapes,{first}plan-kernels,choose-ranges,quantize-weights,insert-qdq"
        model, _ = run(text, recipe, weights=weights, data=data, target="x86-vnni")
        errors = [outputs(model.to_proto(), f)[0] - outputs(reference, f)[0] for f in data]
        return float(np.square(errors).mean())

    assert lost("equalize-cross-layer,") < lost("") / 10


@pytest.mark.parametrize("target", ["x86-vnni", "fpga-pow2"])
def test_one_run_serves_the_factors_and_the_guard(target: str) -> None:
    """And the patches that the guard saw are not kept."""
    rng = np.random.default_rng(0)
    size = np.geomspace(0.02, 2, 3).astype(np.float32)
    weights = {
        "w": rng.normal(0, 1, (3, 3, 1, 1)).astype(np.float32) * size[:, None, None, None],
        "b": np.zeros(3, np.float32),
        "v": rng.normal(0, 1, (3, 1, 3, 3)).astype(np.float32),
    }
    asked: list[int | None] = []
    feeds = [{"x": rng.normal(0, 1, (1, 3, 6, 6)).astype(np.float32)} for _ in range(60)]

    def measure(
        model: Model | onnx.ModelProto,
        wanted: Mapping[str, tuple[AnyObserver, ...]],
        samples: int | None = None,
    ) -> Statistics:
        asked.append(samples)
        return calibrate(model, wanted, feeds[:samples])

    model = Model.load(onnx.shape_inference.infer_shapes(parse(BEFORE, weights)))
    used = Context(target=get_target(target), measure=measure)
    PassManager((PASS,)).run(model, used)
    assert scaled_tensors(model)
    assert asked == [None]
    kept = {o for found in used.statistics.states.values() for o in found}
    assert not any(isinstance(o, PatchSamples) for o in kept)


def test_noise_is_that_of_the_formula() -> None:
    rows = np.array([[1.0, 2.0], [3.0, 0.5]])
    reading = Reading(rows, rows**2, np.array([[0, 1], [0, 1]]))
    ranges, a = np.array([4.0, 1.0]), np.array([1.0, 2.0])
    activations = (4 / 255) ** 2 * ((1 + 9) / 1 + (4 + 0.25) / 4)
    steps = np.array([1.0, 3.0]) / 127
    signal = (4 / 6) ** 2 + (2 * 1 / 6) ** 2
    expected = activations + float((steps**2).sum()) * signal
    assert noise([ranges], [reading], a) == pytest.approx(expected)


def test_dead_channels_keep_their_factor_and_limits_hold() -> None:
    rows = np.ones((3, 4))
    reading = Reading(rows, rows**2, np.tile(np.arange(4), (3, 1)))
    a, left = balance([np.array([8.0, 1.0, 0.0, 0.1])], [reading], np.array([9.0, 3.0, 9.0, 9.0]))
    assert a[0] == a[2] == 1.0
    assert (a <= [9.0, 3.0, 9.0, 9.0]).all()
    assert left < 1.0
