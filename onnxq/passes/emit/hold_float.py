"""hold-float: keep the runtime from quantizing layers that are to stay in float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers, is_constant, producer
from onnxq.passes.emit._held import hold
from onnxq.pipeline import Context, Pass, Stage

_ROUNDED = ("Conv", "ConvTranspose", "Gemm")
_BETWEEN = ("Relu", "Clip")


@dataclass(frozen=True, kw_only=True)
class HoldFloat(Pass):
    """Let layers that stay in float between integer layers really compute in float.

    What it does
        Behind a Conv or Gemm with float weights whose input comes from a DequantizeLinear, and
        whose output only a QuantizeLinear reads (a Relu or Clip may lie between), stands a
        LeakyRelu of slope 1, which changes nothing.

    Why
        ONNX Runtime rounds such constant weights to int8 when it loads the model, on one scale for
        the whole tensor and without regard to saturation: a layer that was excluded because it
        lost most would lose more than before. It does not where another operator follows, and it
        fuses a LeakyRelu into the float convolution.

    Example
        ``plan-kernels,choose-ranges,quantize-weights,insert-qdq,hold-float``

    When it declines
        Other runtimes than ONNX Runtime leave float weights as they are.

    Numerics
        Exact: LeakyRelu with alpha = 1 is the identity.

    Source
        onnxruntime, weight_bias_quantization.cc; seen on optimized graphs of 1.31.
    """

    name: ClassVar[str] = "hold-float"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    def run(self, model: Model, ctx: Context) -> None:
        if not ctx.target.rounds_float_weights:
            return
        for node in list(model.nodes()):
            if node.op in _ROUNDED and _float_weight(node) and _between_codes(model, node):
                hold(model, node)


def _float_weight(node: gs.Node) -> bool:
    """Whether the weight of *node* is a constant of floats, if widened from float16."""
    weight = node.inputs[1]
    above = producer(weight)
    return is_constant(above.inputs[0] if above is not None and above.op == "Cast" else weight)


def _between_codes(model: Model, node: gs.Node) -> bool:
    """Whether *node* reads dequantized codes, and its result is quantized."""
    above = producer(node.inputs[0])
    if above is None or above.op != "DequantizeLinear":
        return False
    tensor = node.outputs[0]
    while True:
        users = [user for user, _ in consumers(tensor)]
        if not users or model.is_output(tensor):
            return False
        if all(user.op == "QuantizeLinear" for user in users):
            return True
        if len(users) > 1 or users[0].op not in _BETWEEN:
            return False
        tensor = users[0].outputs[0]
