"""Models in bfloat16: they are quantized as float32, and keep their interface.

ONNX Runtime's CPU provider has no kernels for bfloat16 but Cast, and takes no such arrays from
numpy: nothing could be measured. Every bfloat16 is a float32, so widening is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnxq.api.result import Result
from onnxq.graph import Model
from onnxq.passes.canonical._float16 import (
    SINGLE,
    TYPE_ATTRIBUTES,
    all_tensors,
    attribute_constants,
    holds_half,
)
from onnxq.passes.canonical._half_ends import widen_output, widen_source

_KIND = int(TensorProto.BFLOAT16)
_TYPE = np.dtype(ml_dtypes.bfloat16)


@dataclass(frozen=True)
class Narrow:
    """What a model was before it was widened.

    Attributes:
        ends: names of its inputs and outputs in bfloat16.
        size: its bytes.
    """

    ends: frozenset[str]
    size: int

    def restored(self, result: Result) -> Result:
        """*result* with the interface of the model, in place."""
        model, report = result.model, result.report
        for tensor in list(model.graph.inputs):
            if tensor.name in self.ends:
                widen_source(model, tensor)
                tensor.dtype = _TYPE
        for tensor in list(model.graph.outputs):
            if tensor.name in self.ends:
                widen_output(model, tensor, _KIND)
                tensor.dtype = _TYPE
        report["summary"]["bytes_float"] = self.size
        report["summary"]["bytes_quantized"] = model.message_bytes()
        report["notes"].append(
            "the model is in bfloat16: measured in float32, for ONNX Runtime's CPU provider does "
            "not compute in bfloat16; inputs and outputs stay bfloat16"
        )
        return result


def widen(model: Model) -> Narrow | None:
    """Let all of *model* be float32 where it is bfloat16, in place; None where it has none."""
    tensors = [t for t in all_tensors(model) if _is_narrow(t)]
    nodes = [
        (n, k)
        for n in model.nodes()
        for k in TYPE_ATTRIBUTES & n.attrs.keys()
        if n.attrs[k] == _KIND
    ]
    stored = [c for n in model.nodes() for c in attribute_constants(n) if _is_narrow(c)]
    if not (tensors or nodes or stored):
        return None
    ends = {t.name for t in (*model.graph.inputs, *model.graph.outputs) if _is_narrow(t)}
    narrow = Narrow(frozenset(ends), model.message_bytes())
    for tensor in (*tensors, *stored):
        if isinstance(tensor, gs.Constant):
            tensor.values = np.asarray(tensor.values).astype(np.float32)
            tensor._export_dtype = None
        else:
            tensor.dtype = np.dtype(np.float32)
    for node, key in nodes:
        node.attrs[key] = SINGLE
    return narrow


def rest_of(model: Model) -> str | None:
    """How to store what stays in float: in two bytes where *model* does."""
    return "fp16" if holds_half(model) or any(map(_is_narrow, all_tensors(model))) else None


def _is_narrow(tensor: gs.Tensor) -> bool:
    kind: Any = tensor.export_dtype if isinstance(tensor, gs.Constant) else tensor.dtype
    if kind is None or isinstance(kind, int):
        return kind is not None and kind == _KIND
    return bool(np.dtype(kind) == _TYPE)
