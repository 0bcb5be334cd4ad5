"""correct-biases: take out of each bias what rounded weights add on average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.calibrate.channel_means import ChannelMeans
from onnxq.calibrate.observer import AnyObserver
from onnxq.graph import Model, constant_value
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class CorrectBiases(Pass):
    """Correct each bias for the mean error that rounding the weights causes.

    What it does
        ``b' = b − Σ_c (ŵ − w)[m, c] · E[x_c]``, with E[x_c] the mean of input channel c over the
        calibration data and the weight's error summed over the kernel's window.

    Why
        Inputs behind ReLU or SiLU are positive on average, so errors of weights do not cancel: they
        shift whole output channels, and every layer behind sees the shift.

    Example
        ``quantize-weights,correct-biases,quantize-biases``

    When it declines
        A layer without a bias, and a ConvTranspose.

    Numerics
        Exact but for borders, where padding sees zeros in place of the mean.

    Source
        Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
        section 4.2, with means from data.
    """

    name: ClassVar[str] = "correct-biases"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0

    def wants(self, model: Model, ctx: Context) -> Mapping[str, tuple[AnyObserver, ...]]:
        return {n.inputs[0].name: (_observer(n),) for n in _layers(model, ctx)}

    def run(self, model: Model, ctx: Context) -> None:
        for node in _layers(model, ctx):
            if len(node.inputs) < 3 or node.inputs[2].is_empty():
                ctx.decline(node, "it has no bias to correct")
                continue
            bias = constant_value(node.inputs[2])
            mean = ctx.statistics.get(node.inputs[0].name, _observer(node)).mean
            shift = _mean_shift(node, ctx, mean)
            if bias is None or shift is None:
                ctx.decline(node, "the shapes of its weight and input do not fit")
                continue
            corrected = bias.astype(np.float64) - shift.reshape(bias.shape)
            ctx.biases[node.inputs[2].name] = corrected.astype(np.float32)


def _layers(model: Model, ctx: Context) -> list[gs.Node]:
    return [
        node
        for node in model.graph.nodes
        if node.name in ctx.plan.nodes and node.op in ("Conv", "Gemm")
    ]


def _observer(node: gs.Node) -> ChannelMeans:
    if node.op == "Conv":
        return ChannelMeans(1)
    return ChannelMeans(0 if node.attrs.get("transA", 0) else -1)


def _mean_shift(
    node: gs.Node, ctx: Context, mean: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Mean error of each output channel of *node*, float64 [M], for input means *mean* [C]."""
    name = node.inputs[1].name
    weight = constant_value(node.inputs[1])
    assert weight is not None, name
    codes = np.asarray(ctx.integers[name])
    error = (ctx.qparams[name].dequantize(codes) - weight).astype(np.float64)
    if node.op == "Gemm":
        rows = error if node.attrs.get("transB", 0) else error.T
        return rows @ mean if rows.shape[1] == mean.size else None
    groups = int(node.attrs.get("group", 1))
    rows = error.reshape(*error.shape[:2], -1).sum(axis=2)
    if rows.shape[1] * groups != mean.size:
        return None
    by_group = rows.reshape(groups, -1, rows.shape[1])
    return np.asarray(np.einsum("gmc,gc->gm", by_group, mean.reshape(groups, -1)).reshape(-1))
