"""Functions that are seen through conversions, and factors that are taken back."""

import onnx.parser
import pytest

from onnxq.graph import Model
from onnxq.report.reading import functions_read

PLAIN = "s = Sigmoid(d)  y = Mul(d, s)"
SLOPE = "h = LeakyRelu<alpha = 0.5>(d)  s = Sigmoid(h)  y = Mul(h, s)"
TAKEN_BACK = "h = Mul(d, k)  s = Sigmoid(h)  y = Mul(h, s)"
INSIDE = "h = Mul(d, k)  s = Sigmoid(h)  y = Mul(d, s)"
TWICE = "h = Mul(d, k)  s = Sigmoid(h)  t = Mul(h, s)  y = Add(t, d)"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (PLAIN, ("silu", 1.0)),
        (TAKEN_BACK, ("silu", 0.25)),
        (INSIDE, ("silu", 0.25)),
        (SLOPE, None),
        (TWICE, None),
    ],
    ids=["plain", "taken back", "inside", "slope", "twice"],
)
def test_functions_read(text: str, found: tuple[str, float] | None) -> None:
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)
        <float w = {{0.1}}, uint8 z = {{128}}, float[2, 2, 1, 1] v = {{1, 2, 3, 4}},
         float[1, 2, 1, 1] k = {{4, 8}}>
        {{
            c = Conv(x, v)
            q = QuantizeLinear(c, w, z)
            d = DequantizeLinear(q, w, z)
            {text}
        }}
    """)
    assert functions_read(Model.load(model), {"c": "c"}).get("c") == found
