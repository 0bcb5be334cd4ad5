from __future__ import annotations

import numpy as np
import pytest

from tests.passes.golden import outputs, parse, same_graph
from tests.passes.stages import run

RECIPE = "plan-dynamic{min_values=1},round-weights,insert-dynamic-lstm"


def text(directions: int, direction: str) -> str:
    return f"""g (float[5,2,8] x) => (float[5,{directions},2,4] y, float[{directions},2,4] h)
    <float[{directions},16,8] w, float[{directions},16,4] r, float[{directions},32] b>
    {{ [lstm] y, h = LSTM <hidden_size = 4, direction = "{direction}"> (x, w, r, b) }}"""


@pytest.mark.parametrize(("directions", "direction"), [(1, "reverse"), (2, "bidirectional")])
def test_codes_have_their_rows_last(directions: int, direction: str) -> None:
    d = directions
    before = text(d, direction)
    model, _ = run(before, RECIPE)
    after = f"""<ir_version: 8, opset_import: ["" : 13, "com.microsoft" : 1]>
        g (float[5,2,8] x) => (float[5,{d},2,4] y, float[{d},2,4] h)
        <int8[{d},8,16] w, int8[{d},4,16] r, float[{d},32] b, float[{d},16] sw, int8[{d},16] zw,
         float[{d},16] sr, int8[{d},16] zr>
        {{ y, h = com.microsoft.DynamicQuantizeLSTM <hidden_size = 4, direction = "{direction}">
            (x, w, r, b, , , , , sw, zw, sr, zr) }}"""
    same_graph(model.to_proto().graph, parse(after).graph, {})
    feed = {"x": np.random.default_rng(0).normal(size=(5, 2, 8)).astype(np.float32)}
    for real, found in zip(outputs(parse(before), feed), outputs(model.to_proto(), feed),
                           strict=True):  # fmt: skip
        assert np.abs(found - real).max() < 0.05


def test_other_runtimes_keep_the_standard_operator() -> None:
    model, ctx = run(text(1, "forward"), RECIPE, target="openvino")
    assert [n.op for n in model.nodes()] == ["LSTM"]
    assert "no standard operator" in ctx.journal.declines[0].reason
