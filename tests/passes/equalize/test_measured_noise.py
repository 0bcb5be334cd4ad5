# ruff: noqa: E501 - graphs read best with a node on one line
"""The noise of a layer on patches, against its formula written down plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from onnxq.graph import Model
from onnxq.passes.equalize._measure import Measured, rows_in_patch_order
from onnxq.quant import INT8, UINT8, PerAxis, PerTensor, QuantSpec
from onnxq.quant.affine import affine
from onnxq.quant.choose import weight_codes, weight_qparams
from tests.passes.golden import parse

LAYERS = {
    "dense": "g (float[1,6,5,5] x) => (y) <float[4,6,3,3] w> { y = Conv(x, w) }",
    "grouped": "g (float[1,6,5,5] x) => (y) <float[8,3,3,3] w> { y = Conv<group=2>(x, w) }",
    "depthwise": "g (float[1,6,5,5] x) => (y) <float[6,1,3,3] w> { y = Conv<group=6>(x, w) }",
    "transposed": "g (float[1,6,5,5] x) => (y) <float[6,2,2,2] w> { y = ConvTranspose<group=3>(x, w) }",
    "linear": "g (float[9,6] x) => (y) <float[6,5] w> { y = Gemm(x, w) }",
}
ACTIVATIONS = QuantSpec(dtype=UINT8, granularity=PerTensor(), symmetric=False)


def plain(layer: Measured, x: np.ndarray, seen: np.ndarray, a: np.ndarray | None) -> float:
    """The same of *x* [groups, n, K], the range chosen on *seen*, with an array for each step."""
    weight = np.asarray(layer.node.inputs[1].values)
    rows = rows_in_patch_order(layer.node, weight)
    groups, _, columns = rows.shape
    factor = np.ones((groups, 1, columns)) if a is None else a.reshape(groups, 1, -1)
    factor = np.tile(factor, (1, 1, columns // factor.shape[2]))
    scaled, narrow = rows / factor, layer.weights
    assert narrow is not None
    by_weight = np.ones_like(weight)
    if a is not None:
        if layer.node.op == "Conv":
            by_weight = (
                by_weight
                * np.repeat(a.reshape(groups, -1), len(weight) // groups, axis=0)[..., None, None]
            )
        else:
            by_weight = by_weight * a.reshape(-1, *[1] * (weight.ndim - 1))
    q = weight_qparams((weight / by_weight).astype(np.float32), narrow)
    stored = q.dequantize(weight_codes((weight / by_weight).astype(np.float32), q, narrow))
    rounded = rows_in_patch_order(layer.node, np.asarray(stored, np.float32))
    assert np.abs(rounded - scaled).max() < 0.1
    reach = (rows**2 * layer.gains.reshape(groups, -1, 1)).sum(axis=1)[:, None] / factor**2
    best, chosen = np.inf, (np.float32(1), np.int64(0))
    for clip in (1.0, 0.8, 0.64, 0.5):
        wide = seen * factor
        grid = affine(wide.min(initial=0) * clip, wide.max(initial=0) * clip, ACTIVATIONS)
        error = (fake(wide, *grid) - wide)[:, ::2]
        lost = float((error**2 * reach).sum())
        if lost < best:
            best, chosen = lost, grid
    error = fake(x * factor, *chosen) @ rounded.swapaxes(1, 2) - x @ rows.swapaxes(1, 2)
    wanted = x @ rows.swapaxes(1, 2)
    noise, signal = (float(v.var(axis=1).reshape(-1) @ layer.gains) for v in (error, wanted))
    return noise / signal


def fake(x: np.ndarray, scale: Any, zero: Any) -> np.ndarray:
    return np.asarray((np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("factors", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_noise(kind: str, factors: bool, held: bool) -> None:
    rng = np.random.default_rng(1)
    model = Model.load(parse(LAYERS[kind]))
    (node,) = model.graph.nodes
    assert isinstance(node.inputs[1], gs.Constant)
    node.inputs[1].values = rng.normal(size=node.inputs[1].shape).astype(np.float32)
    groups, outputs, columns = rows_in_patch_order(node, node.inputs[1].values).shape
    parts = [rng.gamma(0.5, 1, (groups, n, columns)).astype(np.float32) for n in (7, 9, 4)]
    grain = PerTensor() if kind == "transposed" else PerAxis(int(node.op != "Conv"))
    weights = QuantSpec(dtype=INT8, granularity=grain, symmetric=True)
    gains = rng.uniform(0.5, 2, groups * outputs)
    layer = Measured(node, parts[:2], parts[2:], ACTIVATIONS, weights, gains)
    a = np.linspace(1, 3, layer.channels) if factors else None
    seen = np.concatenate(parts[:2], axis=1).astype(np.float64)
    x = parts[2].astype(np.float64) if held else seen
    assert layer.noise(a, None, held=held) == pytest.approx(plain(layer, x, seen, a), rel=1e-3)
    window = columns // (layer.channels // groups)
    most = np.abs(seen).max(axis=1).reshape(groups, window, -1).max(axis=1)
    np.testing.assert_allclose(layer.largest(), most.reshape(-1))
