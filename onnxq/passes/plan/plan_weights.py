"""plan-weights: which weights are stored in few bits, for layers that compute in float."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from onnxq.errors import OptionError
from onnxq.graph import Model
from onnxq.passes.plan._weights import candidates, size_of, stored_spec
from onnxq.pipeline import Context, NodePlan, Pass, Stage
from onnxq.pipeline.weight_sites import SITES, STORED, run_of
from onnxq.quant import INT8, DType


@dataclass(frozen=True, kw_only=True)
class PlanWeights(Pass):
    """Choose the weights that are stored as integers for layers that compute in float.

    What it does
        Marks the stored weights of MatMul, Gemm, Conv, ConvTranspose, RNN, GRU and LSTM and the
        tables of Gather, in sub-graphs too, unless the layer is planned otherwise already. Scales
        belong to blocks along the axis that is summed over, or to whole rows.

    Why
        Large models are read rather than computed: a quarter or an eighth of the bytes is a
        smaller file, less memory, and for products of vectors less time. No data is needed.

    Example
        ``plan-weights{weights=int4,block=32}``

    When it declines
        Weights of fewer than ``min_values`` stay as they are: scales and nodes would take what
        the codes save.

    Numerics
        Tables have a format of their own, and whole rows where that is bytes: a row is handed on
        as it is, no sum evens its errors out, and runtimes take rows of bytes alone. Symmetric: the
        zero point is 0. Else codes are unsigned and each block has a zero point. Scales of fewer
        than 8 bits may be negative on targets that take them, so that -8 is either end.
        Floating-point formats (float8e4m3fn, float8e5m2, float4e2m1) have no zero points.

    Source
        ONNX operator DequantizeLinear-21 (block_size); Dettmers and Zettlemoyer 2022, "The case
        for 4-bit precision", https://arxiv.org/abs/2212.09720 (blocks of weights); signs of scales
        as in llama.cpp's Q4_0.

    Attributes:
        weights: format of the codes.
        block: values of a block; 0 for whole rows.
        tables: format of the tables of Gather.
        symmetric: whether the zero point is 0.
        min_values: smallest weight.
        ops: operator types whose weights are stored.
        nested: how many blocks share a scale of their scales, which are stored as int8 then; 0
            for scales in float32. Fewer do where a row has no such number of blocks.
    """

    name: ClassVar[str] = "plan-weights"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    weights: DType = INT8
    block: int = 0
    tables: DType = INT8
    symmetric: bool = True
    min_values: int = 256
    nested: int = 0
    ops: tuple[str, ...] = tuple(SITES)

    def __post_init__(self) -> None:
        if self.block and (self.block < 16 or self.block & (self.block - 1)):
            raise OptionError(
                f"plan-weights: blocks of {self.block} values",
                why="runtimes have kernels for powers of two from 16",
                hint="32, 64 or 128",
            )
        if self.nested and not self.block:
            raise OptionError("plan-weights: scales of whole rows share no scale", hint="block=32")
        unknown = [op for op in self.ops if op not in SITES]
        if unknown:
            raise OptionError(f"plan-weights: {unknown[0]} keeps no weights", hint=", ".join(SITES))

    def run(self, model: Model, ctx: Context) -> None:
        for node in (n for n in candidates(model, ctx) if n.op in self.ops):
            found = []
            for index in range(len(node.inputs)):
                run = run_of(node, index)
                if run is None:
                    continue
                tensor = node.inputs[index]
                if size_of(tensor) < self.min_values:
                    ctx.decline(node, f"'{tensor.name}' has fewer than {self.min_values} values")
                    continue
                kind = self.tables if node.op == "Gather" else self.weights
                rows = node.op == "Gather" and kind.bits == 8
                run = replace(run, size=0 if rows else self.block, nested=self.nested)
                own = stored_spec(kind, run, ctx.target, symmetric=self.symmetric)
                ctx.plan.tensors.setdefault(tensor.name, own)
                found.append(index)
            if found:
                ctx.plan.nodes[node.name] = NodePlan(node.name, STORED, tuple(found), ())
                ctx.plan.kept_float.pop(node.name, None)
