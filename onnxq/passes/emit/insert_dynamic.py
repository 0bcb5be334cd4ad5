"""insert-dynamic: matrix products on codes whose scale is computed in each run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute, constant_value
from onnxq.passes._scope import Scope, present
from onnxq.passes.emit._codes import Codes
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.weight_sites import DYNAMIC_LINEAR


@dataclass(frozen=True, kw_only=True)
class InsertDynamic(Pass):
    """Write planned MatMul and Gemm as DynamicQuantizeLinear and MatMulInteger.

    What it does
        Quantizes what the layer reads in the run, multiplies codes, and scales the sums back:
        Cast, and a Mul with the product of both scales. Layers that read the same tensor share
        one DynamicQuantizeLinear. A Gemm's bias follows in an Add, alpha and beta go into
        constants.

    Why
        ONNX Runtime makes one kernel of it: DynamicQuantizeMatMul where a tensor has one such
        reader, MatMulIntegerToFloat where it has several, for each with a Mul of its own.

    Example
        ``y = MatMul(x, w)``  becomes  ``q, s, z = DynamicQuantizeLinear(x)
        a = MatMulInteger(q, codes, z)  f = Cast(a)  t = Mul(s, scales)  y = Mul(f, t)``.

    When it declines
        Never: planning has left out what has no such form.

    Numerics
        Sums are exact in int32. Inputs are rounded to 255 steps between their extremes.

    Source
        ONNX operators DynamicQuantizeLinear-11, MatMulInteger-10; ONNX Runtime,
        dynamic_quantize_matmul_fusion and matmul_integer_to_float, read off optimized graphs.
    """

    name: ClassVar[str] = "insert-dynamic"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    def run(self, model: Model, ctx: Context) -> None:
        writer = _Writer(model, ctx)
        for node in list(model.nodes()):
            planned = ctx.plan.nodes.get(node.name)
            if planned is not None and planned.kernel == DYNAMIC_LINEAR:
                writer.write(node)


class _Writer:
    def __init__(self, model: Model, ctx: Context) -> None:
        self.model, self.ctx = model, ctx
        self.scope, self.codes = Scope(model), Codes(model, ctx)
        self.quantized: dict[tuple[int, int], list[gs.Variable]] = {}

    def write(self, node: gs.Node) -> None:
        """Replace *node*; its output keeps its name."""
        name, result = node.name, node.outputs[0]
        x, weight = node.inputs[:2]
        turned = bool(attribute(node, "transB", 0))
        shape = tuple(int(d) for d in weight.shape)
        codes = self.codes.of(
            weight, shape[::-1] if turned else shape, np.transpose if turned else None,
            "_turned" if turned else "",
        )  # fmt: skip
        scale = self.ctx.blocks[weight.name].scale.reshape(-1)
        own = f"{name}__weight_scale"
        scales = self.codes.constant(own, scale * np.float32(attribute(node, "alpha", 1.0)))
        bias = self._bias(node)
        q, s, z = self._quantized(node, x)
        raw, real, both = (self._variable(f"{name}__{w}") for w in ("sum", "real", "scale"))
        last = result if bias is None else self._variable(f"{name}__product")
        node.name = ""
        steps: list[tuple[str, str, list[gs.Tensor], gs.Tensor, dict[str, Any]]] = [
            ("MatMulInteger", name, [q, codes, z], raw, {}),
            ("Cast", f"{name}__cast", [raw], real, {"to": int(onnx.TensorProto.FLOAT)}),
            ("Mul", f"{name}__scales", [s, scales], both, {}),
            ("Mul", f"{name}__rescale", [real, both], last, {}),
        ]
        if bias is not None:
            steps.append(("Add", f"{name}__add", [last, bias], result, {}))
        node.outputs.clear()
        for op, wanted, inputs, output, attrs in steps:
            label = wanted if wanted == name else self.model.unique_name(wanted)
            self.scope.insert(node, op, inputs, [output], attrs, name=label)
        self.scope.remove(node)

    def _bias(self, node: gs.Node) -> gs.Tensor | None:
        if node.op != "Gemm" or not present(node, 2):
            return None
        bias, beta = node.inputs[2], np.float32(attribute(node, "beta", 1.0))
        value = constant_value(bias)
        if value is None or beta == 1:
            return bias
        return self.codes.constant(f"{node.name}__bias", beta * value)

    def _quantized(self, node: gs.Node, x: gs.Tensor) -> list[gs.Variable]:
        """Codes, scale and zero point of *x* in the graph of *node*."""
        key = (id(x), id(self.scope.graph(node)))
        if key not in self.quantized:
            made = [self._variable(f"{x.name}__{w}") for w in ("q", "scale", "zero_point")]
            name = self.model.unique_name(f"{x.name}__quantize")
            self.scope.insert(node, "DynamicQuantizeLinear", [x], made, name=name)
            self.quantized[key] = made
        return self.quantized[key]

    def _variable(self, name: str) -> gs.Variable:
        return gs.Variable(self.model.unique_name(name))
