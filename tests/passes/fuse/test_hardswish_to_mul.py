# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.passes.fuse.hardswish_to_mul import HardSwishToMul
from onnxq.passes.fuse.recognise_hardswish import RecogniseHardSwish
from onnxq.pipeline import Context, Recipe
from onnxq.pipeline.named import RECIPES
from onnxq.runtime.coverage import kernels
from onnxq.targets import get_target
from onnxq.testing import check_pass
from tests.passes.golden import apply, check, outputs, parse

PASS = HardSwishToMul()
HEAD = """g (float[1,3,8,8] x) => (float[1,8,8,8] y) <float[16,3,3,3] w, float[16] b, float[8,16,3,3] v, float[16,16,1,1] k,
 float c0 = {0}, float c2 = {2}, float c3 = {3}, float c6 = {6}, float half = {0.5}, float two = {2}, float sixth = {0.16666667}>"""
IN = f"{HEAD} {{ [c1] a = Conv<pads = [1,1,1,1]>(x, w, b)"
OUT = "[c2] y = Conv<pads = [1,1,1,1]>(h, v) }"
PARTS = "s = Add(a, c3)  t = Clip(s, c0, c6)"
AFTER = f"{IN} {PARTS}  p = Mul(a, t)  h = Mul(p, sixth)  {OUT}"
NETWORK = f"{IN} [hs] h = HardSwish(a)  {OUT}"
GATED = f"{IN} [gap] p = GlobalAveragePool(a)  [fc] f = Conv(p, k)  [hs] g = HardSigmoid<alpha = 0.16666667>(f)  [mul] h = Mul(a, g)  {OUT}"


def run(before: str, after: str | None = None, target: str = "x86", **rest: Any) -> None:
    ctx = Context(target=get_target(target))
    check(PASS, before, after, ctx=ctx, **{"opset": 14, **rest})


@pytest.mark.parametrize("target", ["x86", "x86-vnni", "arm"])
def test_operator(target: str) -> None:
    run(NETWORK, AFTER, target)


def test_group() -> None:
    parts = "[n1] s = Add(a, c3)  [n2] t = Clip(s, c0, c6)  [n3] q = Mul(a, t)  [hs] h = Div(q, c6)"
    ctx = Context(target=get_target("x86"))
    apply(RecogniseHardSwish(), parse(f"{IN} {parts}  {OUT}"), ctx)
    assert len(ctx.groups) == 1
    check(PASS, f"{IN} {parts}  {OUT}", AFTER, ctx=ctx)
    assert not ctx.groups


def test_gate() -> None:
    after = GATED.replace(
        "[hs] g = HardSigmoid<alpha = 0.16666667>(f)",
        "s = Add(f, c3)  t = Clip(s, c0, c6)  g = Mul(t, sixth)",
    )
    run(GATED, after)


def test_gate_of_other_slope() -> None:
    head = GATED.replace("alpha = 0.16666667", "alpha = 0.5, beta = 1.0")
    after = GATED.replace(
        "[hs] g = HardSigmoid<alpha = 0.16666667>(f)",
        "s = Add(f, c2)  t = Clip(s, c0, two)  g = Mul(t, half)",
    )
    run(head, after)


def test_one_behind_the_other() -> None:
    result, ctx = apply(
        PASS,
        parse(f"{IN} [one] g = HardSwish(a)  [two] h = HardSwish(g)  {OUT}", opset=14),
        Context(target=get_target("x86")),
    )
    assert [n.op_type for n in result.graph.node].count("Clip") == 2
    assert not ctx.journal.declines


@pytest.mark.parametrize("target", ["tensorrt", "openvino", "generic"])
def test_other_targets(target: str) -> None:
    run(NETWORK, target=target)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"{HEAD} {{ [c1] a = Conv<pads = [1,1,1,1]>(x, w, b)  e = Exp(a)  [hs] h = HardSwish(e)  {OUT}", "does not run on integers"),
        (f"{HEAD} {{ [c1] a = Conv<pads = [1,1,1,1]>(x, v)  [hs] y = HardSwish(a) }}".replace("float[8,16,3,3] v", "float[8,3,3,3] v"), "both before and behind"),
        (f"{IN} [hs] h = HardSigmoid<alpha = -1.0>(a)  {OUT}", "its slope is -1"),
    ],
)  # fmt: skip
def test_declines(body: str, reason: str) -> None:
    run(body, declines=[("hs", reason)])


def test_behind_gemm_declines() -> None:
    run(
        """g (float[2,8] x) => (float[2,4] y) <float[8,8] w, float[8] b, float[8,4] v, float[4] c>
        { [one] a = Gemm(x, w, b)  [hs] h = HardSwish(a)  y = Gemm(h, v, c) }""",
        declines=[("hs", "stays in float where a constant is added")],
    )


def test_contract() -> None:
    check_pass(PASS, parse(NETWORK, opset=14))
    check_pass(PASS, parse(GATED, opset=14))


def quantized(proto: onnx.ModelProto, recipe: str) -> tuple[Any, float]:
    """The result, and its signal-to-noise ratio in dB on other samples."""
    draw = np.random.default_rng(0)
    data = [{"x": draw.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(16)]
    result = onnxq.quantize(proto, data=data[:8], target="x86", recipe=Recipe.parse(recipe))
    pairs = [(outputs(proto, f)[0], outputs(result.model.to_proto(), f)[0]) for f in data[8:]]
    signal = sum(float((a**2).sum()) for a, _ in pairs)
    return result, 10 * np.log10(signal / sum(float(((a - b) ** 2).sum()) for a, b in pairs))


@pytest.mark.parametrize("name", ["fast", "balanced"])
@pytest.mark.parametrize("text", [NETWORK, GATED])
def test_integers_throughout_at_the_same_accuracy(text: str, name: str) -> None:
    proto = parse(text, opset=14)
    recipe = RECIPES[name]
    assert ",hardswish-to-mul" in recipe
    result, sqnr = quantized(proto, recipe)
    found = kernels(result.model)
    compute = [n for n in result.model.nodes() if not n.op.endswith("Linear")]
    assert "Clip" not in {n.op for n in compute}
    assert {n.name for n in compute} <= set(found), found
    _, kept = quantized(proto, recipe.replace(",hardswish-to-mul", ""))
    assert sqnr > kept - 1.5
