"""round-weights: scales of weights in blocks; codes follow when the file is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from onnxq.errors import OnnxqError
from onnxq.graph import Model
from onnxq.graph.deferred import peek
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import PerBlock, QuantSpec
from onnxq.quant.blocks import block_params


@dataclass(frozen=True, kw_only=True)
class RoundWeights(Pass):
    """Choose the scale of each block of the planned weights; codes are the nearest.

    What it does
        Reads one weight after the other and keeps its scales and zero points. The codes are
        computed when the model is written, so that a model larger than memory can be quantized.

    Why
        Scales of blocks are few; codes are as many as weights.

    Example
        ``plan-weights{weights=int4,block=32},round-weights{method=mse}``

    When it declines
        Weights that hold NaN or Inf stay in float.

    Numerics
        mse tries factors from 0.3 to 1 on the range of each block and takes the least squared
        error. hqq goes on from there and moves scales and zero points so that the sum of
        |error|^0.7 falls, which forgives a few weights that are far off: on three language models
        as good as mse or a little better at 4 bits, and worse at 2. Pairs of codes are limited
        where the plan says so.

    Source
        Banner et al. 2019, "Post training 4-bit quantization of convolutional networks",
        https://arxiv.org/abs/1810.05723 (clipping); Badri and Shaji 2023, "Half-Quadratic
        Quantization of Large Machine Learning Models"; ``onnxq.quant.weights``.

    Attributes:
        method: minmax (no clipping), mse (the clipping with the least squared error) or hqq.
        bits: wider formats are not clipped: with 8 bits all the noise that clipping saves is a
            few tenths of a dB, and what it adds sits in the largest weights.
    """

    name: ClassVar[str] = "round-weights"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0

    method: Literal["minmax", "mse", "hqq"] = "minmax"
    bits: int = 8

    def run(self, model: Model, ctx: Context) -> None:
        for name, tensor in model.tensors().items():
            spec = ctx.plan.tensors.get(name)
            if not isinstance(tensor, gs.Constant) or not isinstance(spec, QuantSpec):
                continue
            if not isinstance(spec.granularity, PerBlock):
                continue
            method = self.method if spec.dtype.bits <= self.bits else "minmax"
            try:
                shape = tuple(int(d) for d in tensor.shape)
                ctx.blocks[name] = block_params(shape, peek(tensor), spec, method=method)
            except OnnxqError as error:
                _keep(name, error.message, model, ctx)


def _keep(name: str, reason: str, model: Model, ctx: Context) -> None:
    """Leave all nodes in float that read the weight *name*."""
    del ctx.plan.tensors[name]
    for node in model.nodes():
        if any(t.name == name for t in node.inputs) and node.name in ctx.plan.nodes:
            ctx.plan.keep_float(node.name, f"{reason} ('{name}')")
