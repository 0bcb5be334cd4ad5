"""Minus infinity in masks of attention, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.errors import DataError
from tests.passes.golden import outputs, parse


def attention(masking: str = "[add] t = Add (s, m)") -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    names = "qkvo"
    weights = {n: rng.normal(0, 0.25, (16, 16)).astype(np.float32) for n in names}
    return parse(
        f"""g (float[1,6,16] x, float[1,1,6] mask) => (float[1,6,16] y)
        <{", ".join(f"float[16,16] {n}" for n in names)}> {{
        [query] a = MatMul (x, q)  [key] b = MatMul (x, k)  [value] c = MatMul (x, v)
        [turn] d = Transpose <perm = [0,2,1]> (b)  [scores] s = MatMul (a, d)
        [wide] m = Identity (mask)  {masking}
        [soft] p = Softmax <axis = -1> (t)  [mean] r = MatMul (p, c)  [out] y = MatMul (r, o) }}""",
        weights, opset=17,
    )  # fmt: skip


def samples(hidden: float, count: int = 16) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    mask = np.zeros((1, 1, 6), np.float32)
    mask[..., 4:] = hidden
    return [{"x": rng.normal(size=(1, 6, 16)).astype(np.float32), "mask": mask}
            for _ in range(count)]  # fmt: skip


def test_infinite_masks_change_nothing() -> None:
    """What is measured with minus infinity is what is measured with a large number."""
    made = [
        onnxq.quantize(attention(), data=samples(hidden), target="x86-vnni", recipe="fast")
        for hidden in (-np.inf, -1e4)
    ]
    a, b = (m.model.to_proto() for m in made)
    assert list(a.graph.initializer) == list(b.graph.initializer)
    assert made[0].report["summary"]["outputs"][0]["sqnr_db"] > 30
    (feed,) = samples(-np.inf, 1)
    assert np.isfinite(outputs(a, feed)[0]).all()


@pytest.mark.parametrize(
    ("hidden", "masking"),
    [
        (np.inf, "[add] t = Add (s, m)"),
        (np.nan, "[add] t = Add (s, m)"),
        (-np.inf, "[add] u = Add (s, m)  [curve] t = Tanh (u)"),
    ],
)
def test_other_values_are_refused(hidden: float, masking: str) -> None:
    with pytest.raises(DataError, match="input 'mask': 2 of 6 values are NaN or Inf"):
        onnxq.quantize(attention(masking), data=samples(hidden), target="x86-vnni")
