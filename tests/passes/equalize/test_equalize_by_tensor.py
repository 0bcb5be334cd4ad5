# ruff: noqa: E501 - graphs read best with a node on one line
"""Equalization where a weight has one scale for all channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnxq.passes.equalize._balance import PEAK
from onnxq.passes.equalize._by_tensor import Layer, Near, sweep
from onnxq.passes.equalize.equalize_cross_layer import EqualizeCrossLayer
from tests.passes.equalize.test_equalize_cross_layer import BEFORE, SIX, ctx, stored
from tests.passes.golden import apply, check, outputs, parse
from tests.passes.stages import run

PASS = EqualizeCrossLayer()
RNG = np.random.default_rng(1)


def layer(outputs: int, channels: int, reads: list[int], writes: list[int]) -> Layer:
    rows = RNG.uniform(0.01, 3, (outputs, channels))
    where = np.tile(reads, (outputs, 1))
    reach = np.tile(RNG.uniform(0.1, 8, channels), (outputs, 1))
    return Layer(rows, rows**2 * 4, where, np.array(writes), reach, RNG.uniform(1, 2, outputs), 9)


def formula(one: Layer, a: np.ndarray) -> float:
    """N over the signal, as the module's docstring has it."""
    into, out = a[one.reads], a[one.writes]
    s_w = (one.rows * out[:, None] / into).max() / 127
    s_x = (one.reach * into).max() / 127
    energy = (one.reach / PEAK) ** 2
    weights = s_w**2 * 9 * (one.gains / out**2 * (into**2 * energy).sum(axis=1)).sum()
    rounding = s_x**2 * (one.gains[:, None] * one.power / into**2).sum()
    return float((weights + rounding) / (one.gains[:, None] * one.power * energy).sum())


@pytest.mark.parametrize(
    ("reads", "writes"),
    [
        ([0, 1, 2], [9, 9]),
        ([9, 9, 9], [1, 2]),
        ([0, 9, 2], [9, 9]),
        ([4, 5, 6], [0, 2]),
        ([0, 1, 0], [5, 6]),
    ],
)
def test_noise_is_that_of_the_formula(reads: list[int], writes: list[int]) -> None:
    """Variables 0 to 2 are the block, 4 to 8 another, 9 is the number 1."""
    one = layer(len(writes), len(reads), reads, writes)
    now = np.append(RNG.uniform(0.5, 4, 9), 1.0)
    place = np.array([0, 1, 2, -1, -1, -1, -1, -1, -1, -1])
    near = Near.of(one, now, place, 3)
    for _ in range(5):
        b = RNG.uniform(0.2, 5, 3)
        a = now.copy()
        a[:3] = b
        assert near.noise(b[None])[0] == pytest.approx(formula(one, a), rel=1e-9)


def test_the_best_factors_lower_the_noise_within_limits() -> None:
    writer, reader = layer(3, 2, [9, 9], [0, 1, 2]), layer(4, 3, [0, 1, 2], [9, 9, 9, 9])
    writer = replace(writer, rows=writer.rows * np.array([[1.0], [30.0], [0.2]]))
    limits = np.array([1.0, 0.1, 0.5]), np.array([1.0, 8.0, 2.0])
    found, left = sweep([writer, reader], np.arange(3), np.arange(3), np.ones(10), limits)
    assert left < 0.8
    assert (limits[0] <= found).all() and (found <= limits[1]).all()
    assert found[1] < 1 < found[2], "the large weights shrink, the small ones grow"
    same, stays = sweep(
        [writer, reader], np.arange(3), np.arange(3), np.append(found, np.ones(7)), limits
    )
    assert stays == pytest.approx(1.0) and (same == found).all()


def test_powers_of_two_are_filled() -> None:
    """One common factor brings what is widest up to a power of two."""
    one = Layer(
        np.ones((1, 1)),
        np.ones((1, 1)),
        np.zeros((1, 1), int),
        np.array([1]),
        np.full((1, 1), 127 * 1.4),
        np.ones(1),
        1,
    )
    limits = np.array([0.1]), np.array([8.0])
    found, left = sweep([one], np.arange(1), np.arange(1), np.ones(2), limits, True)
    free, none = sweep([one], np.arange(1), np.arange(1), np.ones(2), limits, False)
    assert left < 0.9 and found[0] != 1.0
    assert none == 1.0 and free[0] == 1.0, "a free scale needs none"


def test_weights_in_front_and_behind_are_evened_out() -> None:
    w = stored(parse(BEFORE))
    size = np.array([0.05, 1.0, 20.0], np.float32).reshape(3, 1, 1, 1)
    weights = {"w": w["w"] * size, "v": w["v"] / size, "b": w["b"] * size.ravel()}
    used = ctx(axis=False, x=[3.0, 3.0, 3.0], m=[0.3, 6.0, 120.0])
    after, _ = apply(PASS, parse(BEFORE, weights), used)

    def unevenness(values: np.ndarray) -> float:
        top = np.abs(values).max(axis=(1, 2, 3))
        return float(top.max() / top.min())

    found = stored(after)
    for name in "wv":
        assert unevenness(found[name]) < unevenness(weights[name]) / 8
    assert used.journal.records[-1].declines == []


def test_a_channel_that_a_clip_cuts_keeps_its_factor() -> None:
    used = ctx(axis=False, x=[1.0, 1.0, 1.0], m=[6.0, 0.1, 3.0])
    before = stored(parse(SIX))
    ratio = (stored(apply(PASS, parse(SIX), used)[0])["w"] / before["w"])[:, 0, 0, 0]
    assert ratio[0] == pytest.approx(1.0)
    assert ratio[2] <= 2.0 * (1 + 1e-6)


def test_even_weights_and_ranges_decline() -> None:
    ones = {"w": np.ones((3, 3, 1, 1), np.float32), "v": np.ones((3, 1, 3, 3), np.float32)}
    used = ctx(axis=False, x=[2.0, 2.0, 2.0], m=[2.0, 2.0, 2.0])
    check(PASS, BEFORE, ctx=used, weights=ones, declines=[("conv", "would not go down")])


def test_the_function_stays_and_the_error_falls() -> None:
    text = """g (float[1,4,8,8] x) => (float[1,4,8,8] y)
        <float[8,4,1,1] w, float[8] b, float[8,1,3,3] d, float[8] e, float[4,8,1,1] v>
        { c = Conv(x, w, b)  m = Relu(c)  f = Conv<group=8, pads=[1,1,1,1]>(m, d, e)  n = Relu(f)  y = Conv(n, v) }"""
    rng = np.random.default_rng(0)
    size = np.geomspace(0.02, 2, 8).astype(np.float32)
    weights = {
        "w": rng.normal(0, 1, (8, 4, 1, 1)).astype(np.float32),
        "d": rng.uniform(0, 1, (8, 1, 3, 3)).astype(np.float32) * size[:, None, None, None],
        "v": rng.normal(0, 1, (4, 8, 1, 1)).astype(np.float32) / size[None, :, None, None],
        "b": np.zeros(8, np.float32), "e": np.zeros(8, np.float32),
    }  # fmt: skip
    data = [{"x": rng.normal(0, 1, (1, 4, 8, 8)).astype(np.float32)} for _ in range(8)]
    reference = parse(text, weights)

    equal, _ = run(
        text,
        "name-nodes,measure-shapes,equalize-cross-layer",
        weights=weights,
        data=data,
        target="fpga-pow2",
    )
    for feed in data:
        one, two = outputs(reference, feed)[0], outputs(equal.to_proto(), feed)[0]
        np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-3)

    def lost(first: str) -> float:
        recipe = f"name-nodes,measure-shapes,{first}plan-kernels,choose-ranges,quantize-weights,insert-qdq"
        model, _ = run(text, recipe, weights=weights, data=data, target="fpga-pow2")
        errors = [outputs(model.to_proto(), f)[0] - outputs(reference, f)[0] for f in data]
        return float(np.square(errors).mean())

    assert lost("equalize-cross-layer,") < lost("") / 4
