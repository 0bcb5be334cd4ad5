"""store-rest: int8 weights for layers that stay in float."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from onnxq.errors import OnnxqError, OptionError
from onnxq.graph import Model
from onnxq.graph.deferred import peek
from onnxq.passes.emit._weight_writer import WeightWriter
from onnxq.passes.plan._weights import candidates, size_of, stored_spec
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.weight_sites import SITES, run_of
from onnxq.quant import INT8, DType, dtype, number_format
from onnxq.quant.blocks import block_params

RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True, kw_only=True)
class StoreRest(Pass):
    """Store the weights of layers that stay in float as int8.

    What it does
        Writes Cast and Mul in front of the weights of LSTM, GRU and RNN and of large tables of
        embeddings, in sub-graphs too: the codes become floats when the model is loaded. Each row,
        that is each gate of each cell, or each word, has a scale.

    Why
        ONNX Runtime has no recurrent layer on integers whose scales are chosen in advance, and to
        look up floats costs nothing; the file is a quarter of the size all the same, at the speed
        of float. Half of the weights of a small encoder are its table of words.

    Example
        ``store-rest{ops=["LSTM","Gather"]}``

    When it declines
        Targets that do not compute constants at load: they take no weights but stored ones.
        Weights of fewer than ``min_values``. Nodes that were excluded, whose weights stay exact.

    Numerics
        Symmetric, clipped for the least squared error, in 16 bits where weights of 16 bits are
        asked for. Layers compute in float.

    Source
        ONNX Runtime's constant folding, read off optimized graphs.

    Attributes:
        ops: operator types, of MatMul, Gemm, Conv, ConvTranspose, Gather, RNN, GRU and LSTM.
        min_values: smallest weight.
        min_table: smallest table of Gather; smaller ones may be coordinates, and are hardly bytes.
    """

    name: ClassVar[str] = "store-rest"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    ops: tuple[str, ...] = (*RECURRENT, "Gather")
    min_values: int = 256
    min_table: int = 1 << 14

    def __post_init__(self) -> None:
        unknown = [op for op in self.ops if op not in SITES]
        if unknown:
            raise OptionError(f"store-rest: {unknown[0]} keeps no weights", hint=", ".join(SITES))

    def run(self, model: Model, ctx: Context) -> None:
        writer = WeightWriter(model, ctx, 1 << 62, False, 0)
        asked = ctx.plan.weights
        kind = dtype("int16") if asked is not None and number_format(asked).bits == 16 else INT8
        for node in candidates(model, ctx):
            sites = [(i, run) for i in range(len(node.inputs)) if (run := run_of(node, i))]
            if node.op not in self.ops or not sites:
                continue
            if not ctx.target.folds_casts:
                ctx.decline(node, f"{ctx.target.name} takes weights that are stored as floats")
                continue
            for index, run in sites:
                tensor = node.inputs[index]
                least = self.min_table if node.op == "Gather" else self.min_values
                if size_of(tensor) < least:
                    ctx.decline(node, f"'{tensor.name}' has fewer than {least} values")
                    continue
                spec = stored_spec(kind, replace(run, size=0), ctx.target, symmetric=True)
                shape = tuple(int(d) for d in tensor.shape)
                try:
                    ctx.blocks[tensor.name] = block_params(shape, peek(tensor), spec, method="mse")
                except OnnxqError as error:  # NaN or Inf
                    ctx.decline(node, error.message)
                    continue
                writer.write(node, index)
                why = ctx.plan.kept_float.get(node.name, "it computes in float")
                ctx.plan.kept_float[node.name] = _stored_as(kind, why)


def _stored_as(kind: DType, why: str) -> str:
    said = f"; its weights are stored as {kind}"
    return why if why.endswith(said) else why + said
