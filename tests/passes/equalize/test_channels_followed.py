# ruff: noqa: E501 - graphs read best with a node on one line
"""Operators that factors pass on their way from layer to layer: the function stays."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxq.calibrate.channel_extremes import ChannelExtremesState
from onnxq.calibrate.parted_extremes import PartedExtremes, PartedExtremesState
from onnxq.calibrate.patch_samples import PatchSamples
from onnxq.calibrate.statistics import Statistics
from onnxq.graph import Model
from onnxq.passes.equalize._blocks import blocks
from onnxq.passes.equalize._channels import Channels
from onnxq.passes.equalize._guard import settle
from onnxq.passes.equalize._reshape import reshaped, runs
from onnxq.passes.equalize.equalize_cross_layer import EqualizeCrossLayer
from onnxq.pipeline.scaled import note_scaled, scale_factors
from tests.passes.equalize.test_equalize_cross_layer import ctx
from tests.passes.golden import apply, parse, same_outputs

HEAD = "g (float[1,4,6,6] x) => (float{shape} y) <float[4,4,1,1] w, float[4] b, {more}> {{ [one] c = Conv(x, w, b) "
PATHS = {
    "transposed": ("[1,2,12,12]", "float[4,2,2,2] v", "y = ConvTranspose<strides=[2,2]>(c, v)"),
    "transposed in groups": ("[1,4,7,7]", "float[4,2,2,2] v", "y = ConvTranspose<group=2>(c, v)"),
    "slice and pad": (
        "[1,2,3,3]",
        "float[2,6,1,1] v, int64[1] s = {0}, int64[1] e = {6}, int64[1] a = {2}, int64[1] t = {2}, int64[1] a3 = {3}, int64[8] p = {0,1,0,0,0,1,0,0}",
        "d = Slice(c, s, e, a, t)  f = Slice(d, s, e, a3, t)  h = Pad(f, p)  y = Conv(h, v)",
    ),
    "channels sliced": (
        "[1,2,6,6]", "float[2,2,1,1] v, int64[1] s = {1}, int64[1] e = {3}, int64[1] a = {1}",
        "d = Slice(c, s, e, a)  y = Conv(d, v)",
    ),
    "bias behind": ("[1,2,6,6]", "float[4,1,1] d, float[2,4,1,1] v", "e = Add(c, d)  r = Relu(e)  y = Conv(r, v)"),
    "shuffle": (
        "[1,2,6,6]", "float[2,4,1,1] v, int64[5] s = {1,2,2,6,6}, int64[4] u = {1,4,6,6}",
        "d = Reshape(c, s)  e = Transpose<perm=[0,2,1,3,4]>(d)  f = Reshape(e, u)  y = Conv(f, v)",
    ),
    "channels last": ("[1,6,6,3]", "float[4,3] v", "d = Transpose<perm=[0,2,3,1]>(c)  y = MatMul(d, v)"),
    "flat": ("[1,3]", "float[144,3] v, float[3] u", "d = Flatten(c)  y = Gemm(d, v, u)"),
}  # fmt: skip
SEEN = np.array([8.0, 4.0, 0.5, 0.05], np.float32)


def seen(size: np.ndarray, axis: int = 1) -> dict[PartedExtremes, PartedExtremesState]:
    state = ChannelExtremesState(0 * size, size)
    none = ChannelExtremesState(size[:0], size[:0])
    return {PartedExtremes(axis): PartedExtremesState(state, none, 0, 32)}


@pytest.mark.parametrize("name", PATHS)
def test_factors_pass(name: str) -> None:
    shape, more, body = PATHS[name]
    proto = parse(HEAD.format(shape=shape, more=more) + body + " }")
    used = ctx()
    states = {t: seen(SEEN) for t in "cer"} | {"h": seen(np.pad(SEEN, 1))}
    used.statistics = Statistics(states, samples=1)
    result, _ = apply(EqualizeCrossLayer(), proto, used)
    factors = scale_factors(Model.load(result))
    assert factors["c"].max() > 2, used.journal.records[-1].declines
    same_outputs(proto, result, 2e-5)


def test_linear_layers_too() -> None:
    proto = parse("""g (float[1,5,4] x) => (float[1,5,3] y) <float[4,6] w, float[6] b, float[6,3] v>
        { m = MatMul(x, w)  a = Add(m, b)  r = Relu(a)  y = MatMul(r, v) }""")
    used = ctx()
    size = np.array([9, 3, 1, 0.3, 0.1, 0.03], np.float32)
    used.statistics = Statistics({"r": seen(size, 2)}, samples=1)
    result, _ = apply(EqualizeCrossLayer(), proto, used)
    assert scale_factors(Model.load(result))["m"].shape == (1, 1, 6)
    same_outputs(proto, result, 2e-5)


def test_a_reshape_that_mixes_channels_with_places_stops_factors() -> None:
    more = "float[2,9,1,1] v, int64[4] s = {1,9,4,4}"
    text = HEAD.format(shape="[1,2,4,4]", more=more) + "d = Reshape(c, s)  y = Conv(d, v) }"
    _, used = apply(EqualizeCrossLayer(), parse(text), ctx())
    assert [d.node for d in used.journal.records[-1].declines] == ["one"]


def test_runs_of_axes() -> None:
    found = [
        (old.stop - old.start, new.stop - new.start) for old, new in runs((2, 6, 4), (2, 2, 3, 4))
    ]
    assert found == [(1, 1), (1, 2), (1, 1)]
    ids = np.arange(6).reshape(1, 6, 1)
    heads = reshaped(ids, (2, 6, 4), (2, 2, 3, 4), [False, True, True, False])
    assert heads is not None
    np.testing.assert_array_equal(heads, np.arange(6).reshape(1, 2, 3, 1))
    assert reshaped(ids, (2, 6, 4), (2, 24), [True, False]) is None


def test_factors_are_noted_along_any_axis() -> None:
    model = Model.load(parse("g (float[1,2] x) => (float[1,2] y) { y = Relu(x) }"))
    heads = np.arange(1.0, 7.0).reshape(1, 2, 1, 3)
    note_scaled(model, {"a": heads, "b": np.array([2.0, 1.0]), "c": np.array([[3.0, 1.0]])})
    note_scaled(model, {"a": heads})
    found = scale_factors(model)
    np.testing.assert_array_equal(found["a"], heads**2)
    assert found["b"].tolist() == [2.0, 1.0]
    assert found["c"].tolist() == [3.0, 1.0], "a vector where channels are on axis 1"


@pytest.mark.parametrize("pays", [True, False])
def test_the_guard_looks_at_samples(pays: bool) -> None:
    """What evens out the channels that were seen pays; the opposite is taken back."""
    text = """g (float[8,4] x) => (float[8,3] y) <float[4,6] w, float[6] b, float[6,3] v>
        { [one] m = Gemm(x, w, b)  r = Relu(m)  [two] y = Gemm(r, v) }"""
    size = np.geomspace(1, 0.02, 6).astype(np.float32)
    model, used = Model.load(onnx.shape_inference.infer_shapes(parse(text))), ctx()
    rows = np.abs(np.random.default_rng(0).normal(size=(1, 64, 6))).astype(np.float32) * size
    used.measure = lambda model, wanted, samples=None: Statistics(
        {
            t: {o: ((0, rows),) for o in observers if isinstance(o, PatchSamples)}
            for t, observers in wanted.items()
        },
        samples=1,
    )
    channels = Channels.find(model, used)
    chosen = [b for b in blocks(channels, gated=False) if not b.reason]
    assert len(chosen) == 1
    a = np.ones(channels.count)
    a[chosen[0].members] = (1 / size if pays else np.where(size == 1, 50, 1)).astype(np.float16)
    left = list(settle(channels, chosen, a, used))
    assert bool(left) is not pays
    assert bool(a[chosen[0].members].max() > 10) is pays
