"""Golden test of hold-gates."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph import Model
from onnxq.report.held import unhold
from onnxq.runtime.coverage import optimized
from onnxq.runtime.session import Session
from onnxq.testing import random_feeds
from tests.passes.emit.test_whole_float_gates import RECIPE, K
from tests.passes.golden import parse
from tests.passes.stages import run

SCALED = """g (float[1,4,6,6] x) => (float[1,4,6,6] y)
    <float[4,4,1,1] w, float[4,1,3,3] d, float[1,4,1,1] k> {
    [first] a = Conv (x, w)  [scale] s = Mul (a, k)  [sig] p = Sigmoid (s)  [gate] b = Mul (s, p)
    [dw] y = Conv <group = 4, pads = [1,1,1,1]> (b, d) }"""
PLAIN = SCALED.replace("[scale] s = Mul (a, k)  [sig] p = Sigmoid (s)", "[sig] p = Sigmoid (a)")
PLAIN = PLAIN.replace("Mul (s, p)", "Mul (a, p)")


def operators(model: Model) -> list[str]:
    return [node.op_type for node in optimized(model.to_proto()).graph.node]


@pytest.mark.parametrize("text", [SCALED, PLAIN], ids=["factor", "plain"])
def test_the_gate_is_one_kernel(text: str) -> None:
    before, _ = run(text, RECIPE, target="x86", weights={"k": K})
    after, _ = run(text, f"{RECIPE},hold-gates", target="x86", weights={"k": K})
    back = after.clone()
    unhold(back)
    for feed in random_feeds(parse(text, {"k": K}))[:2]:
        one, *rest = (Session(m, optimize=False).run(feed)["y"] for m in (before, after, back))
        for other in rest:
            np.testing.assert_allclose(other, one, atol=1e-5)
    ran = operators(after)
    assert "QuickGelu" in ran and ran.count("DequantizeLinear") == 1 and "Mul" not in ran
    assert sorted(n.op for n in back.nodes()) == sorted(n.op for n in before.nodes())


def test_declines() -> None:
    elsewhere = PLAIN.replace("[dw] y =", "[dw] z =").replace(
        "(b, d) }", "(b, d)  y = Add (z, a) }"
    )
    signed = {"k": K * np.float32(-1)}
    for text, target, weights in (
        (PLAIN, "openvino", {}),
        (elsewhere, "x86", {}),
        (SCALED, "x86", signed),
    ):
        kept, _ = run(text, f"{RECIPE},hold-gates", target=target, weights=weights)
        assert "Reshape" not in {n.op for n in kept.nodes()}
