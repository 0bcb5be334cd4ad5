"""pack-weights: weights of 4 bits, and those of float layers in float16, unpacked when loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import DTypeLike

from onnxq.graph import Model, constant_value, insert_node, replace_input
from onnxq.pipeline import Context, Pass, Stage

_WIDER = {"int4": np.int8, "uint4": np.uint8}


@dataclass(frozen=True, kw_only=True)
class PackWeights(Pass):
    """Store weights narrower than the kernel that computes with them, and widen them once.

    What it does
        Behind a weight of 4 bits a Cast makes bytes of the codes, which a DequantizeLinear of 8
        bits reads. The weights of layers set to 16 bits are stored as float16, with a Cast to
        float32 behind them.

    Why
        ONNX Runtime has no integer convolution for weights of 4 bits: read by DequantizeLinear, the
        layer computes in float, and slowly. A Cast of a constant is computed when the model is
        loaded, before groups are fused: the file has half the bytes, and the layer runs in the
        8-bit kernel as fast as any.

    Example
        ``plan-kernels{weights=int4},choose-ranges,quantize-weights,insert-qdq,pack-weights``

    When it declines
        Targets whose runtime does not compute such a Cast at loading keep DequantizeLinear of
        4 bits.

    Numerics
        Exact for codes. float16 rounds weights to 11 significant bits.

    Source
        ONNX operator Cast-21; that ONNX Runtime folds it first was seen on optimized graphs.
    """

    name: ClassVar[str] = "pack-weights"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    def run(self, model: Model, ctx: Context) -> None:
        for node in list(model.nodes()):
            if node.op == "DequantizeLinear" and ctx.target.folds_casts:
                _codes(model, node)
            elif ctx.plan.precisions.get(node.name) == "16":
                rule = ctx.target.rules[node.op]
                if rule.weight is not None:
                    _halves(model, node, rule.weight)


def _codes(model: Model, node: gs.Node) -> None:
    """Let *node* read bytes, where it reads codes of 4 bits."""
    codes = node.inputs[0]
    value = constant_value(codes)
    wider = None if value is None else _WIDER.get(value.dtype.name)
    if wider is None:
        return
    _widen(model, node, 0, wider)
    zero = None if len(node.inputs) < 3 else constant_value(node.inputs[2])
    if zero is not None:
        name = model.unique_name(f"{codes.name}__zero_point")
        replace_input(node, 2, gs.Constant(name, zero.astype(wider)))


def _halves(model: Model, node: gs.Node, index: int) -> None:
    """Store weight *index* of the float layer *node* as float16."""
    tensor = node.inputs[index]
    value = constant_value(tensor)
    if value is None or value.dtype != np.float32:
        return
    half = gs.Constant(model.unique_name(f"{tensor.name}__half"), value.astype(np.float16))
    replace_input(node, index, half)
    _widen(model, node, index, np.float32)


def _widen(model: Model, node: gs.Node, index: int, kind: DTypeLike) -> None:
    """Put a Cast to *kind* between *node* and its constant input *index*."""
    stored = node.inputs[index]
    wide = gs.Variable(model.unique_name(f"{stored.name}__wide"), kind, stored.shape)
    to = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    name = model.unique_name(f"{stored.name}__widen")
    insert_node(model, "Cast", [stored], [wide], {"to": to}, name=name)
    replace_input(node, index, wide)
