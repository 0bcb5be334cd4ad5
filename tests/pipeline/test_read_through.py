"""Which activation function is all that reads a tensor."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.calibrate.histogram import Histogram
from onnxq.graph import Model
from onnxq.pipeline.eligibility import read_through
from onnxq.quant import UINT8, QuantSpec
from onnxq.quant.mse import mse_range
from tests.passes.golden import parse


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Sigmoid(x)", ("sigmoid", 1.0)),
        ("s = Sigmoid(x)  y = Mul(s, x)", ("silu", 1.0)),
        ("u = Mul(x, k)  s = Sigmoid(u)  y = Mul(x, s)", ("silu", 4.0)),
        ("u = Mul(x, k)  s = Sigmoid(u)  y = Mul(s, x)", ("silu", 4.0)),
        ("u = Mul(x, k)  s = Tanh(u)  y = Mul(s, x)", None),
        ("u = Mul(x, k)  s = Sigmoid(u)  n = Neg(u)  m = Mul(x, n)  y = Add(m, s)", None),
        ("u = Mul(x, q)  s = Sigmoid(u)  y = Mul(x, s)", None),
        ("s = Sigmoid(x)  m = Mul(x, s)  y = Add(m, s)", None),
        ("s = Sigmoid(x)  m = Mul(x, s)  n = Neg(x)  y = Add(m, n)", None),
    ],
)
def test_read_through(body: str, expected: tuple[str, float] | None) -> None:
    weights = {"k": np.float32([1.0, 0.25, 0.5]), "q": np.float32([1.0, -0.25, 0.5])}
    weights = {name: v for name, v in weights.items() if f", {name})" in body}
    declared = f"<float[3] {next(iter(weights))}>" if weights else ""
    text = f"g (float[2,3] a) => (float[2,3] y) {declared} {{ x = Relu(a)  {body} }}"
    model = Model.load(parse(text, weights))
    outputs = {id(t) for t in model.graph.outputs}
    assert read_through(model.tensors()["x"], outputs) == expected


def test_the_range_scales_with_the_function() -> None:
    """With s · f(x / s) behind it, s times the values get s times the range."""
    x = np.random.default_rng(0).normal(scale=4, size=20_000).astype(np.float32)
    observer = Histogram()
    plain = observer.update(observer.init(), 0, x)
    scaled = observer.update(observer.init(), 0, x * 8)
    spec = QuantSpec(dtype=UINT8, through="silu")
    low, high = mse_range(plain, spec)
    eight = mse_range(scaled, QuantSpec(dtype=UINT8, through="silu", through_scale=8.0))
    assert eight == pytest.approx((8 * low, 8 * high), rel=1e-3)
    assert low > x.min() / 2, "what SiLU closes gets no codes"
