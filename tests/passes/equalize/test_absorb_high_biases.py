# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import numpy as np
import pytest

from onnxq.calibrate.channel_extremes import ChannelExtremes, ChannelExtremesState
from onnxq.calibrate.statistics import Statistics
from onnxq.passes.canonical.measure_shapes import MeasureShapes
from onnxq.passes.equalize.absorb_high_biases import AbsorbHighBiases
from onnxq.pipeline import Context
from onnxq.testing import check_pass
from tests.passes.golden import check, context, outputs, parse
from tests.passes.stages import run

PASS = AbsorbHighBiases()
C = np.array([60.0, 0.0, 50.0])
"""What the channels stay above, on data on which the inputs are small."""

BEFORE = """g (float[1,2,6,6] x) => (float[1,4,5,5] y)
<float[3,2,1,1] w, float[3] b, float[4,3,2,2] v>
{ [one] z = Conv(x, w, b)  [relu] r = Relu(z)  [two] y = Conv(r, v) }"""
AFTER = BEFORE.replace("float[4,3,2,2] v", "float[4,3,2,2] v, float[4] d").replace(
    "(r, v)", "(r, v, d)"
)
B = np.array([100, -1, 80], np.float32)


def seen(low: list[float] | np.ndarray = C) -> Context:
    """A context in which the channels of 'z' were seen above *low*."""
    ctx, low = context(), np.array(low, np.float32)
    state = ChannelExtremesState(low, low + 100)
    ctx.statistics = Statistics({"z": {ChannelExtremes(): state}}, samples=1)
    return ctx


def test_match() -> None:
    v = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    check(
        PASS,
        BEFORE,
        AFTER,
        ctx=seen([60.0, -3.0, 50.0]),
        weights={"b": B, "v": v},
        expected={"b": B - C, "d": np.einsum("mckl,c->m", v, C), "v": v},
    )


GEMM = "float[3,2,1,1] w, float[3] b, float[4,K] v, float[4] d> { [one] z = Conv(x, w, b)  [relu] r = Relu(z)"
WHERE = {
    "conv": AFTER,
    "groups": BEFORE.replace("4,3,2,2] v", "3,1,2,2] v").replace("4,5,5", "3,5,5").replace("Conv(r", "Conv<group=3>(r"),
    "pooled": f"g (float[1,2,6,6] x) => (float[1,4] y) <{GEMM.replace('K', '3')} p = GlobalAveragePool(r)  f = Flatten(p) [two] y = Gemm<transB=1, alpha=0.5, beta=2.0>(f, v, d) }}",
    "flattened": f"g (float[1,2,6,6] x) => (float[1,4] y) <{GEMM.replace('K', '27')} p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)  f = Flatten(p) [two] y = Gemm<transB=1>(f, v, d) }}",
    "gemm": "g (float[5,2] x) => (float[5,4] y) <float[2,3] w, float[1,3] b, float[3,4] v> { [one] z = Gemm<beta=0.5>(x, w, b)  [relu] r = Relu(z)  [two] y = Gemm(r, v) }",
}  # fmt: skip


@pytest.mark.parametrize("case", WHERE)
def test_the_function_is_kept(case: str) -> None:
    proto = parse(WHERE[case], {"b": B[None] if "[1,3] b" in WHERE[case] else B})
    used = check_pass(PASS, proto, prepare=[MeasureShapes()])
    record = used.journal.records[-1]
    assert record.changed
    assert not record.declines


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Conv(r, v)", "Conv<pads=[0,0,1,1]>(r, v)", "pads its input with zeros"),
        ("Conv(r, v)", 'Conv<auto_pad="SAME_UPPER">(r, v)', "pads its input with zeros"),
        ("r = Relu(z)", "r = Clip(z, low, high)", "has an upper bound, 6"),
        ("=> (float", "=> (float[1,3,6,6] r, float", "'r' is an output"),
        ("[two]", "[exp] e = Exp(r) [two]", "'r' is read 2 times"),
        ("[two]", "[exp] e = Exp(z) [two]", ""),
        ("[two] y = Conv(r, v)", "[tanh] t = Tanh(r) [two] y = Conv(t, v)", "reaches 'tanh' (Tanh)"),
        ("x, w, b)  ", "x, w, k)  [k] k = Neg(b)", "bias of 'one' is shared or computed"),
        ("float[4,3,2,2] v", "float[3,3,2,2] v, float[4] unused", "bias of 'one' is shared"),
    ],
)  # fmt: skip
def test_declines(old: str, new: str, reason: str) -> None:
    text = BEFORE.replace(old, new)
    if "Clip" in new:
        text = text.replace("<float[3,2", "<float low = {0}, float high = {6}, float[3,2")
    if "unused" in new:
        text = (
            text.replace("(r, v)", "(r, v, b)")
            .replace("[1,4,5,5]", "[1,3,5,5]")
            .replace(", float[4] unused", "")
        )
    if "[k]" in new:
        text = text.replace("[one]", "[k] k = Neg(b)  [one]").replace(
            "  [k] k = Neg(b)[relu]", "  [relu]"
        )
    text = text.replace("[1,4,5,5]", "[1,4,H,W]")
    check(PASS, text, ctx=seen(), declines=[("one", reason)] if reason else [])


def test_decline_where_nothing_stays_above_zero() -> None:
    check(PASS, BEFORE, ctx=seen([-1.0, 0.0, np.nan]), declines=[("one", "no channel stays above")])


def test_less_is_lost_where_a_bias_sets_the_range() -> None:
    rng = np.random.default_rng(1)
    v = rng.normal(size=(4, 3, 2, 2)).astype(np.float32)
    v[:, 0] /= 100  # the wide channel counts for no more than the others
    made = {"b": np.array([100, 1, 1], np.float32), "v": v}
    data = [{"x": rng.normal(size=(1, 2, 6, 6)).astype(np.float32)} for _ in range(16)]
    reference = parse(BEFORE, made)

    def lost(first: str) -> float:
        recipe = f"name-nodes,measure-shapes,{first}plan-kernels,choose-ranges,quantize-weights,quantize-biases,insert-qdq"
        model, _ = run(BEFORE, recipe, weights=made, data=data, target="x86-vnni")
        errors = [outputs(model.to_proto(), f)[0] - outputs(reference, f)[0] for f in data]
        return float(np.square(errors).mean())

    assert lost("absorb-high-biases,") < lost("") / 10
