"""Errors of weights cancel in the output; scales, pairs and layers out of reach stay."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from onnxq.pipeline import Context
from tests.passes.golden import outputs, parse
from tests.passes.stages import run

BEFORE = "plan-kernels,choose-ranges,quantize-weights"
RNG = np.random.default_rng(5)
MIX = RNG.normal(size=(3, 8)).astype(np.float32)


def images(count: int, channels: int = 8, size: int = 9) -> list[dict[str, np.ndarray]]:
    """Samples whose channels and neighbours vary alike, as those behind a layer do."""
    found = []
    for _ in range(count):
        few = RNG.normal(size=(1, 3, size + 2, size + 2))
        few = sum(few[:, :, i : i + size, i : i + size] for i in range(3))
        x = np.einsum("nkhw,kc->nchw", few, MIX[:, :channels])
        found.append({"x": (x + 0.05 * RNG.normal(size=x.shape)).astype(np.float32)})
    return found


def noise(text: str, weights: dict, data: list, recipe: str, target: str) -> float:
    """Variance of what rounding the weights does to the output, on fresh samples."""
    _, ctx = run(text, recipe, weights=weights, data=data, target=target)
    codes = {n: ctx.qparams[n].dequantize(np.asarray(c)) for n, c in ctx.integers.items()}
    rounded = parse(text, {k: codes.get(k, v) for k, v in weights.items()})
    whole = parse(text, weights)
    errors = [outputs(rounded, f)[0] - outputs(whole, f)[0] for f in images(12)]
    return float(np.var(np.concatenate(errors), axis=(0, 2, 3)).sum())


def declined(ctx: Context) -> dict[str, str]:
    return {d.node: d.reason for d in ctx.journal.declines if d.pass_name == "round-second-order"}


CASES = {
    "dense": ("pads=[1,1,1,1]", (6, 8, 3, 3)),
    "grouped": ("group=2, strides=[2,2]", (6, 4, 3, 3)),
    "dilated": ("dilations=[2,2], pads=[1,0,1,2]", (6, 8, 3, 3)),
    "depthwise": ("group=8, pads=[1,1,1,1]", (8, 1, 3, 3)),
}


@pytest.mark.parametrize("target", ["x86", "x86-vnni"])
@pytest.mark.parametrize("case", CASES)
def test_the_output_is_closer(case: str, target: str) -> None:
    attributes, shape = CASES[case]
    size = ",".join(map(str, shape))
    text = f"""g (float[1,8,9,9] x) => (float[1,M,H,W] y) <float[{size}] w>
        {{ [conv] y = Conv <{attributes}> (x, w) }}"""
    weights = {"w": RNG.normal(0, 0.2, shape).astype(np.float32)}
    data = images(16)
    nearest = noise(text, weights, data, BEFORE, target)
    found = noise(text, weights, data, f"{BEFORE},round-second-order", target)
    assert found < nearest * (0.9 if case == "depthwise" else 0.5)


def test_scales_stay_and_pairs_do_not_saturate() -> None:
    text = """g (float[1,8,9,9] x) => (float[1,6,7,7] y) <float[6,8,3,3] w>
        { [conv] y = Conv (x, w) }"""
    weights = {"w": RNG.uniform(-1, 1, (6, 8, 3, 3)).astype(np.float32)}
    before, after = (
        run(text, recipe, weights=weights, data=images(8), target="x86")[1]
        for recipe in (BEFORE, f"{BEFORE},round-second-order")
    )
    np.testing.assert_array_equal(before.qparams["w"].scale, after.qparams["w"].scale)
    codes = np.asarray(after.integers["w"])
    assert codes.dtype == np.int8 and not np.array_equal(codes, before.integers["w"])
    rows = codes.transpose(0, 2, 3, 1).reshape(6, -1, 2).astype(int)
    assert np.abs(rows.sum(axis=2)).max() <= 128


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_gemm_and_matmul(granularity: str) -> None:
    """Where any two codes may meet, per tensor, no two of one sign exceed the limit."""
    text = """g (float[N,8] x) => (float[N,4] y) <float[5,8] w, float[5] b, float[5,4] v>
        { [fc] a = Gemm <transB=1> (x, w, b) [mm] y = MatMul (a, v) }"""
    data = [
        {"x": (RNG.normal(size=(30, 3)) @ MIX + 0.1 * RNG.normal(size=(30, 8))).astype(np.float32)}
        for _ in range(8)
    ]
    weights = {
        "w": RNG.normal(size=(5, 8)).astype(np.float32),
        "b": np.zeros(5, np.float32),
        "v": RNG.normal(size=(5, 4)).astype(np.float32),
    }
    recipe = BEFORE.replace("plan-kernels", f"plan-kernels{{granularity={granularity}}}")
    _, before = run(text, recipe, weights=weights, data=data, target="x86")
    _, ctx = run(text, f"{recipe},round-second-order", weights=weights, data=data, target="x86")
    assert any(not np.array_equal(ctx.integers[n], before.integers[n]) for n in "wv")
    for name in "wv":
        for sign in (1, -1):
            largest = np.sort(np.maximum(sign * np.asarray(ctx.integers[name], int).ravel(), 0))
            if granularity == "tensor":
                assert largest[-2:].sum() <= 128


def test_declines() -> None:
    text = """g (float[1,8,9,9] x) => (float[1,8,5,5] y, float[1,8,9,9] z)
        <float[8,8,3,3] w, float[8,8,1,1] v>
        { [one] a = Conv (x, w) [two] y = Conv (a, w) [small] z = Conv (x, v) }"""
    recipe = f"{BEFORE},round-second-order{{columns=70}}"
    _, ctx = run(text, recipe, data=images(8), target="x86")
    reasons = {
        d.node: d.reason for d in ctx.journal.declines if d.pass_name == "round-second-order"
    }
    assert "shared" in reasons["one"] and "shared" in reasons["two"] and "small" not in reasons
    alone = text.replace("[two] y = Conv (a, w)", "[two] y = Conv (a, u)")
    alone = alone.replace("<float[8,8,3,3] w,", "<float[8,8,3,3] w, float[8,8,3,3] u,")
    _, ctx = run(alone, recipe, data=images(8), target="x86")
    reasons = {
        d.node: d.reason for d in ctx.journal.declines if d.pass_name == "round-second-order"
    }
    assert reasons["one"] == "its patches have 72 values each"


def test_exact_weights_stay_as_they_are() -> None:
    text = """g (float[1,8,9,9] x) => (float[1,4,9,9] y) <float[4,8,1,1] w>
        { [conv] y = Conv (x, w) }"""
    codes = RNG.integers(-127, 128, (4, 8, 1, 1))
    codes[:, 0] = 127
    weights = {"w": (codes / 64).astype(np.float32)}
    recipe = f"{BEFORE},round-second-order"
    _, ctx = run(text, recipe, weights=weights, data=images(8), target="x86-vnni")
    assert declined(ctx) == {"conv": "no rounding lowers its error on samples held out"}
    np.testing.assert_array_equal(ctx.integers["w"], codes)


@pytest.mark.parametrize("scales", [True, False])
def test_few_bits_try_scales(scales: bool) -> None:
    text = """g (float[1,8,9,9] x) => (float[1,6,9,9] y) <float[6,8,1,1] w>
        { [conv] y = Conv (x, w) }"""
    weights = {"w": RNG.normal(size=(6, 8, 1, 1)).astype(np.float32)}
    weights["w"][:, 3] = 5  # the largest weights read next to nothing
    before = BEFORE.replace("plan-kernels", "plan-kernels{weights=int4}")
    after = f"{before},round-second-order{{scales={str(scales).lower()}}}"
    data = images(16)
    for feed in data:
        feed["x"][:, 3] *= 0.001
    _, ctx = run(text, before, weights=weights, data=data)
    _, found = run(text, after, weights=weights, data=data)
    same = np.array_equal(ctx.qparams["w"].scale, found.qparams["w"].scale)
    assert same is not scales
    assert np.abs(np.asarray(found.integers["w"]).astype(int)).max() <= 7


@pytest.mark.parametrize(("granularity", "rounded"), [("tensor", True), ("channel", False)])
def test_one_scale_for_all_channels_counts_as_fewer_bits(granularity: str, rounded: bool) -> None:
    text = """g (float[1,8,9,9] x) => (float[1,6,7,7] y) <float[6,8,3,3] w>
        { [conv] y = Conv (x, w) }"""
    sizes = 0.5 ** np.arange(6)  # of output channels
    w = RNG.normal(size=(6, 8, 3, 3)) * sizes[:, None, None, None]
    before = BEFORE.replace("plan-kernels", f"plan-kernels{{granularity={granularity}}}")
    data = images(16)
    nearest, found = (
        run(text, recipe, weights={"w": w.astype(np.float32)}, data=data, target="x86-vnni")[1]
        for recipe in (before, f"{before},round-second-order{{bits=6}}")
    )
    same = np.array_equal(nearest.integers["w"], found.integers["w"])
    assert same is not rounded


def test_wide_layers_have_one_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("onnxq.passes.correct.round_second_order")
    tried, rounded = [], module.round_by_feedback
    monkeypatch.setattr(
        module, "round_by_feedback", lambda *given: tried.append(given) or rounded(*given)
    )
    text = """g (float[1,8,9,9] x) => (float[1,6,7,7] y) <float[6,8,3,3] w>
        { [conv] y = Conv (x, w) }"""
    weights = {"w": RNG.normal(0, 0.2, (6, 8, 3, 3)).astype(np.float32)}
    data, counts = images(16), []
    for columns in (72, 71):
        monkeypatch.setattr(module, "WIDE", columns)
        run(text, f"{BEFORE},round-second-order", weights=weights, data=data, target="x86-vnni")
        counts.append(len(tried))
        tried.clear()
    assert counts == [6, 1]
