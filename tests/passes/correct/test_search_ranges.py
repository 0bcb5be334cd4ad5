"""Ranges by what rounding does to the outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from onnxq.passes.correct._variants import Bench
from onnxq.pipeline import Context
from tests.passes.golden import outputs, parse
from tests.passes.stages import run

BEFORE = "plan-kernels,choose-ranges{method=mse}"
SEARCH = f"{BEFORE},search-ranges"
RNG = np.random.default_rng(9)

SATURATED = """g (float[1,4,8,8] x) => (float[1,3,8,8] y)
    <float[6,4,1,1] w, float[6] b, float[8,6,1,1] v, float[8] c, float low = {0}, float high = {1},
     float[3,8,1,1] u>
    { [one] a = Conv (x, w, b) [two] k = Conv (a, v, c) [clip] r = Clip (k, low, high)
      [three] y = Conv (r, u) }"""
WEIGHTS = {
    "w": np.abs(RNG.normal(1, 0.3, (6, 4, 1, 1))).astype(np.float32),
    "b": np.full(6, -1.8, np.float32),
    "v": np.abs(RNG.normal(0.4, 0.1, (8, 6, 1, 1))).astype(np.float32),
    "c": np.zeros(8, np.float32),
    "u": RNG.normal(0, 0.5, (3, 8, 1, 1)).astype(np.float32),
}


def images(count: int) -> list[dict[str, np.ndarray]]:
    """Sparse samples: a few large values saturate the clip."""
    found = []
    for _ in range(count):
        x = RNG.uniform(0, 1, (1, 4, 8, 8)) * (1 + 20 * (RNG.uniform(size=(1, 1, 8, 8)) > 0.9))
        found.append({"x": x.astype(np.float32)})
    return found


def noise(ctx: Context, tensors: tuple[str, ...]) -> float:
    """Noise at the output, with *tensors* rounded, on fresh samples."""
    text, total = SATURATED, 0.0
    for name in tensors:  # rounding as ONNX writes it
        text = text.replace(f"({name},", f"({name}_r,", 1)
        pair = f"{name}_q = QuantizeLinear ({name}, {name}_s, {name}_z) "
        pair += f"{name}_r = DequantizeLinear ({name}_q, {name}_s, {name}_z)"
        at = text.index(f"({name}_r,")
        start = text.rindex("[", 0, at)
        text = f"{text[:start]}{pair} {text[start:]}"
        text = text.replace("float[6,4,1,1] w", f"float {name}_s, uint8 {name}_z, float[6,4,1,1] w")
    scales = {f"{n}_s": ctx.qparams[n].scale for n in tensors}
    zeros = {f"{n}_z": ctx.qparams[n].zero_point.astype(np.uint8) for n in tensors}
    rounded, whole = parse(text, WEIGHTS | scales | zeros), parse(SATURATED, WEIGHTS)
    for feed in images(8):
        total += float(np.square(outputs(rounded, feed)[0] - outputs(whole, feed)[0]).sum())
    return total


def test_what_a_clip_swallows_gets_no_codes() -> None:
    data = images(24)
    _, before = run(SATURATED, BEFORE, weights=WEIGHTS, data=data)
    _, after = run(SATURATED, SEARCH, weights=WEIGHTS, data=data)
    assert after.qparams["a"].scale < before.qparams["a"].scale * 0.9
    assert noise(after, ("a",)) < noise(before, ("a",)) * 0.8


def test_variants_measure_what_rounding_does() -> None:
    """The noise of the joined graph is that of rounding written out by hand."""
    data = images(6)
    model, ctx = run(SATURATED, BEFORE, weights=WEIGHTS, data=data)
    bench = Bench.of(model, ctx)
    assert bench.ends == ("y",) and not bench.blind
    variants = [{"a": ctx.qparams["a"]}, {"x": ctx.qparams["x"], "r": ctx.qparams["r"]}, {}]
    found = bench.noise(ctx, variants, 6)
    expected = []
    for variant in variants[:2]:
        shares = []
        for feed in data:
            x = feed["x"]
            real, rounded = (steps(x, {}), steps(x, {n: q.fake for n, q in variant.items()}))
            shares.append(np.square(rounded - real).sum() / np.square(real).sum())
        expected.append(np.mean(shares))
    np.testing.assert_allclose(found[:2], expected, rtol=2e-2)
    assert found[2] == 0


@pytest.mark.parametrize("opset", [13, 18])
def test_what_biases_take_is_left_out_of_noise(opset: int) -> None:
    """Of errors that are alike in every place a tenth is left, of others their variance too."""
    text = """g (float[1,4,8,8] x) => (float[1,4,8,8] y) <float[4,4,1,1] w>
        { [one] a = Conv (x, w) [two] y = Relu (a) }"""
    data = [{"x": RNG.uniform(1, 1.05, (1, 4, 8, 8)).astype(np.float32)} for _ in range(6)]
    w = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    recipe = f"raise-opset{{opset={opset}}},{BEFORE}"
    model, ctx = run(text, recipe, weights={"w": w}, data=data)
    bench = Bench.of(model, ctx)
    step = ctx.qparams["x"].scale * 40  # few codes: errors are large
    coarse = replace(ctx.qparams["x"], scale=np.float32(step))
    plain, centred = (
        bench.by_sample(ctx, [{"x": coarse}], 6, centred=c).mean() for c in (False, True)
    )
    errors, powers = [], []
    for x in (feed["x"] for feed in data):
        powers.append(float(np.square(x).sum()))
        errors.append((coarse.fake(x) - x).mean(axis=(0, 2, 3)) * np.sqrt(64 / powers[-1]))
    drift = float(np.square(np.mean(errors, axis=0)).sum())
    varying = float(np.square(np.array(errors) - np.mean(errors, axis=0)).sum()) / 5
    apart = plain - float(np.square(errors).sum()) / 6  # what means do not show
    np.testing.assert_allclose(centred, 0.1 * plain + 0.9 * (apart + varying), rtol=1e-3)
    assert centred < plain - 0.5 * drift


def steps(x: np.ndarray, fake: dict) -> np.ndarray:
    same = {n: fake.get(n, lambda v: v) for n in "xar"}
    w = {k: v.reshape(len(v), -1).astype(np.float64) for k, v in WEIGHTS.items()}
    a = np.einsum("oc,nchw->nohw", w["w"], same["x"](x)) + WEIGHTS["b"].reshape(1, -1, 1, 1)
    k = np.einsum("oc,nchw->nohw", w["v"], same["a"](a.astype(np.float32)))
    r = same["r"](np.clip(k, 0, 1).astype(np.float32))
    return np.einsum("oc,nchw->nohw", w["u"], r)


@pytest.mark.parametrize("share", [0.005, 2.0])
def test_tensors_that_make_little_noise_are_left(share: float) -> None:
    recipe = SEARCH.replace("search-ranges", f"search-ranges{{share={share}}}")
    data = images(24)
    _, before = run(SATURATED, BEFORE, weights=WEIGHTS, data=data)
    _, after = run(SATURATED, recipe, weights=WEIGHTS, data=data)
    same = all(after.qparams[n].scale == q.scale for n, q in before.qparams.items())
    assert same is (share > 1)


@pytest.mark.parametrize(("runs", "searched"), [(0, False), (3.5, False), (1000, True)])
def test_the_search_keeps_to_its_runs(runs: float, searched: bool) -> None:
    """Three quarters of the work lie behind a: with 6 trials of a sample, 4.5 runs."""
    data = images(24)
    recipe = f"{SEARCH}{{runs={runs},samples=1}}"
    _, before = run(SATURATED, BEFORE, weights=WEIGHTS, data=data)
    _, after = run(SATURATED, recipe, weights=WEIGHTS, data=data)
    assert (after.qparams["a"].scale < before.qparams["a"].scale) == searched


def test_shared_scales_stay_shared() -> None:
    text = """g (float[1,4,8,8] x) => (float[1,2,4,4] y)
        <float[6,4,1,1] w, float[5,4,1,1] v, float[2,11,1,1] u>
        { [one] a = Conv (x, w) [two] b = Conv (x, v) [join] c = Concat <axis=1> (a, b)
          [pool] p = MaxPool <kernel_shape=[2,2], strides=[2,2]> (c) [three] y = Conv (p, u) }"""
    _, ctx = run(text, SEARCH, data=images(20))
    assert len({float(ctx.qparams[n].scale) for n in "abcp"}) == 1


def test_declines_in_front_of_a_branch() -> None:
    text = """g (float[1,4,8,8] x, bool f) => (float[1,2,8,8] y)
        <float[4,4,1,1] w, float[2,4,1,1] v>
        { [one] a = Conv (x, w)
          [branch] c = If (f) <
            then_branch = t () => (float[1,4,8,8] p) { p = Neg (a) },
            else_branch = e () => (float[1,4,8,8] q) { q = Abs (a) }>
          [two] y = Conv (c, v) }"""
    data = [feed | {"f": np.array(True)} for feed in images(20)]
    _, ctx = run(text, SEARCH, data=data)
    reasons = {d.node: d.reason for d in ctx.journal.declines if d.pass_name == "search-ranges"}
    assert "sub-graphs" in reasons["branch"]


def test_the_model_itself_is_not_touched() -> None:
    model, _ = run(SATURATED, SEARCH, weights=WEIGHTS, data=images(20))
    kept = {n.op_type for n in model.to_proto().graph.node}
    assert kept == {"Conv", "Clip"}
    onnx.checker.check_model(model.to_proto())


@pytest.mark.parametrize("spread", [0.0, 9.0])
@pytest.mark.parametrize("best", [0, 1, 2])
def test_only_ranges_that_help_together_are_kept(
    best: int, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone each lowers the noise; together, *best* of them do, if not by chance."""
    measured, together = Bench.by_sample, []

    def by_sample(
        bench: Bench, ctx: Context, variants: list[dict], samples: int, *, centred: bool = False
    ) -> np.ndarray:
        if samples < 32:
            return measured(bench, ctx, variants, samples, centred=centred)
        together.extend(variants)
        chance = spread * np.random.default_rng(0).normal(size=(samples, len(variants)))
        return np.abs(np.arange(len(variants)) - best) + 1.0 + chance - chance.mean(axis=0)

    monkeypatch.setattr(Bench, "by_sample", by_sample)
    data = images(40)
    _, before = run(SATURATED, BEFORE, weights=WEIGHTS, data=data)
    _, after = run(SATURATED, f"{SEARCH}{{share=0}}", weights=WEIGHTS, data=data)
    moved = {n for n, q in before.qparams.items() if after.qparams[n].scale != q.scale}
    assert [len(v) for v in together] == [2, 2, 2]
    assert len(moved) == (0 if spread else best)
    declined = [d.node for d in after.journal.declines if d.pass_name == "search-ranges"]
    assert len(declined) == 2 - len(moved) and not moved & set(declined)
