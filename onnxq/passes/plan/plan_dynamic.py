"""plan-dynamic: which layers quantize what they read in each run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.errors import OptionError
from onnxq.graph import Model, attribute, is_constant
from onnxq.passes.plan._weights import candidates, size_of
from onnxq.pipeline import Context, NodePlan, Pass, Stage
from onnxq.pipeline.weight_sites import DYNAMIC_LINEAR, DYNAMIC_LSTM, run_of
from onnxq.quant import TensorPlan

_OPS = ("MatMul", "Gemm", "LSTM")


@dataclass(frozen=True, kw_only=True)
class PlanDynamic(Pass):
    """Choose the layers whose inputs are quantized in each run, with int8 weights.

    What it does
        Marks every MatMul, Gemm and LSTM with stored weights, in sub-graphs too. Weights get one
        scale for each output channel; the scale of what the layer reads is computed in each run.

    Why
        No data is needed, and each input gets the range that it has. Layers with large weights
        spend their time on reading these, and bytes are a quarter of floats.

    Example
        ``plan-dynamic{ops=["MatMul"],min_values=65536}``

    When it declines
        Weights of fewer than ``min_values``: the conversion takes longer than the layer. A Gemm
        that transposes what it reads or whose bias is computed and scaled. An LSTM where the
        target takes standard operators only, or with another layout than [steps, batch, values].

    Numerics
        Inputs are uint8 with a zero point, one scale for the whole tensor. On CPUs without VNNI
        the target limits pairs of codes, as for scales chosen in advance.

    Source
        ONNX operators DynamicQuantizeLinear-11 and MatMulInteger-10; ONNX Runtime's
        ContribOperators.md, DynamicQuantizeLSTM.

    Attributes:
        ops: operator types to quantize, of MatMul, Gemm and LSTM.
        min_values: smallest weight of a MatMul or Gemm.
    """

    name: ClassVar[str] = "plan-dynamic"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    ops: tuple[str, ...] = _OPS
    min_values: int = 4096

    def __post_init__(self) -> None:
        unknown = [op for op in self.ops if op not in _OPS]
        if unknown:
            raise OptionError(
                f"plan-dynamic: {unknown[0]} has no dynamic form", hint="MatMul, Gemm, LSTM"
            )

    def run(self, model: Model, ctx: Context) -> None:
        for node in candidates(model, ctx):
            if node.op not in self.ops:
                continue
            reason = self._why_not(node, ctx)
            specs = {} if reason else _specs(node, ctx)
            if any(ctx.plan.tensors.get(name, spec) != spec for name, spec in specs.items()):
                reason = "another layer reads its weight along another axis"
            if reason:
                ctx.decline(node, reason)
                continue
            ctx.plan.tensors |= specs
            kernel = DYNAMIC_LSTM if node.op == "LSTM" else DYNAMIC_LINEAR
            ctx.plan.nodes[node.name] = NodePlan(node.name, kernel, (0, *_weights(node)), ())
            ctx.plan.kept_float.pop(node.name, None)

    def _why_not(self, node: gs.Node, ctx: Context) -> str:
        for index in _weights(node):
            if run_of(node, index) is None:
                return f"its weight '{node.inputs[index].name}' is not stored in float32"
        if is_constant(node.inputs[0]):
            return "what it reads is constant"
        if node.op == "LSTM":
            if "com.microsoft" not in ctx.target.domains:
                return f"{DYNAMIC_LSTM} is no standard operator, and {ctx.target.name} has no other"
            return "its batch comes first (layout 1)" if attribute(node, "layout", 0) else ""
        if len(node.inputs[1].shape) != 2:
            return "its weight is a stack of matrices"
        if size_of(node.inputs[1]) < self.min_values:
            return f"its weight has fewer than {self.min_values} values: faster in float"
        return _why_not_gemm(node) if node.op == "Gemm" else ""


def _weights(node: gs.Node) -> tuple[int, ...]:
    return (1, 2) if node.op == "LSTM" else (1,)


def _specs(node: gs.Node, ctx: Context) -> dict[str, TensorPlan]:
    """How the weights of *node* are quantized, by name: one scale for each output channel."""
    found: dict[str, TensorPlan] = {}
    for index in _weights(node):
        run = run_of(node, index)
        assert run is not None
        pairs = None if ctx.target.weights.pair_sum_limit is None else run.axis
        spec = replace(ctx.target.weights, granularity=run, pair_axis=pairs)
        found[node.inputs[index].name] = spec
    return found


def _why_not_gemm(node: gs.Node) -> str:
    if attribute(node, "transA", 0):
        return "it transposes what it reads"
    has_bias = len(node.inputs) > 2 and not node.inputs[2].is_empty()
    if has_bias and attribute(node, "beta", 1.0) != 1.0 and not is_constant(node.inputs[2]):
        return "its bias is computed, and scaled by beta"
    return ""
