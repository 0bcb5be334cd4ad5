"""store-weights: weights as codes, made floats again in front of layers that compute in float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from onnxq.graph import Model
from onnxq.passes.emit._stored import MICROSOFT
from onnxq.passes.emit._weight_writer import WeightWriter
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.weight_sites import STORED


@dataclass(frozen=True, kw_only=True)
class StoreWeights(Pass):
    """Store planned weights as codes with their scales.

    What it does
        In front of a layer the codes become floats: by DequantizeLinear, or by Cast and Mul where
        the runtime computes these at load. Of a large table only the rows that a Gather takes
        are converted. A Gemm with a large weight becomes MatMul and Add. With
        ``domains=microsoft`` products become MatMulNBits, and tables in blocks
        GatherBlockQuantized, of any size, where ONNX Runtime has these operators.

    Why
        ONNX Runtime makes a MatMulNBits of DequantizeLinear and MatMul, which reads the codes: it
        pays where memory is what limits. In front of anything else it would convert the weight
        in each run; what it computes at load costs no time later.

    Example
        ``store-weights{load_below_mb=0}``

    When it declines
        Never: planning has left out what cannot be stored.

    Numerics
        The layer computes in float on the values that the codes stand for. But ONNX Runtime rounds
        what a MatMulNBits reads to int8, block by block, where ``accuracy_level`` is 4, and always
        where it made one of DequantizeLinear itself. With 0 it does not: that is as fast with 4
        bits, and many times slower with 2 and 8.

    Source
        ONNX operator DequantizeLinear-21; ONNX Runtime, DQ + MatMul to MatMulNBits and constant
        folding, read off optimized graphs; ContribOperators.md.

    Attributes:
        load_below_mb: weights of fewer megabytes in float32 are converted at load.
        domains: ``microsoft`` for operators of ONNX Runtime.
        accuracy_level: of MatMulNBits: 0 for products of floats, 4 for those of int8.
    """

    name: ClassVar[str] = "store-weights"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    load_below_mb: float = 1.0
    domains: Literal["standard", "microsoft"] = "standard"
    accuracy_level: Literal[0, 4] = 4

    def run(self, model: Model, ctx: Context) -> None:
        microsoft = self.domains == "microsoft" and MICROSOFT in ctx.target.domains
        limit = int(self.load_below_mb * 2**20)
        writer = WeightWriter(model, ctx, limit, microsoft, self.accuracy_level)
        for node in list(model.nodes()):
            planned = ctx.plan.nodes.get(node.name)
            if planned is None or planned.kernel != STORED:
                continue
            for index in planned.inputs:
                if node.inputs[index].name in ctx.blocks:
                    writer.write(node, index)
