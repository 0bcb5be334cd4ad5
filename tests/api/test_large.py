"""Models that are run a few layers at a time give what they give whole."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import onnxq
from onnxq.api import large as module
from onnxq.api import without_ranges
from onnxq.api.large import LargeCalibration
from onnxq.testing import random_feeds
from tests.passes.golden import parse

CHAIN = """g (float[N,64] x) => (float[N,16] y)
    <float[64] s, float[64] z, float[64,96] u, float[96,64] v, float[64,16] o, float[16] b>
    { [norm] n = LayerNormalization (x, s, z)  [one] p = MatMul (n, u)  [act] a = Relu (p)
      [two] q = MatMul (a, v)  [add] r = Add (q, n)  [last] y = Gemm (r, o, b) }"""


@pytest.mark.parametrize("method", ["gptq", "awq", "awq+gptq"])
def test_layer_by_layer_gives_the_same_codes(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = parse(CHAIN, opset=17)
    data = random_feeds(source, 24)
    for feed in data:
        feed["x"] = feed["x"] * np.geomspace(0.1, 10, 64, dtype=np.float32)
    options: dict[str, Any] = {
        "mode": "weights", "weights": "int4", "block": 32, "weight_method": method, "data": data,
        "target": "x86-vnni",
    }  # fmt: skip
    whole = onnxq.quantize(source, **options)
    for one in (sys.modules["onnxq.api.quantize"], without_ranges):
        monkeypatch.setattr(one, "LARGEST_LOOKED_AT", 1000)
    monkeypatch.setattr(module, "PART", 4 * 64 * 96)
    seen = []
    measure = LargeCalibration.measure
    monkeypatch.setattr(
        LargeCalibration, "measure", lambda *a, **k: seen.append(1) or measure(*a, **k)
    )
    large = onnxq.quantize(source, **options)
    assert seen
    one, two = ({t.name: t for t in r.model.to_proto().graph.initializer} for r in (whole, large))
    assert one.keys() == two.keys()
    assert all(one[n].raw_data == two[n].raw_data for n in one if n.endswith("__q"))
    assert large.report["layers"][0]["weights_sqnr_db"] is None or method != "gptq"
