"""What is known of a tensor without running the model."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import Model
from onnxq.pipeline import Context

_MESSAGE_LIMIT = 2**31 - 2**20
Shape = tuple[int | None, ...]


def element_type(tensor: gs.Tensor, ctx: Context) -> int | None:
    """The ONNX element type of *tensor*, None where it is not known."""
    stated: Any = tensor.export_dtype if isinstance(tensor, gs.Constant) else tensor.dtype
    if stated is None:
        fact = ctx.facts.get(tensor.name)
        return None if fact is None else fact.dtype
    if isinstance(stated, int):
        return stated
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(stated)))


class Stated:
    """Types and shapes that hold for every input: those that follow from the model's inputs.

    They differ from ``Context.shape``, which may have been measured on one sample and then holds
    for that sample only. Shapes that a file states of tensors in the middle are not believed
    either: a batch that was freed by hand in the inputs alone is still fixed there. Inference
    runs when something is asked for the first time.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._types: dict[str, onnx.TypeProto.Tensor] | None = None

    def infer(self) -> dict[str, onnx.TypeProto.Tensor]:
        """What is known, by tensor name; from the model as it is when this is called first."""
        if self._types is None:
            proto = self._model.to_proto(embed=False)
            for value in (*proto.graph.value_info, *proto.graph.output):
                if value.type.HasField("tensor_type"):
                    value.type.tensor_type.ClearField("shape")
            # where inference cannot run, the stated types and the inputs remain
            with contextlib.suppress(RuntimeError, ValueError, onnx.shape_inference.InferenceError):
                if proto.ByteSize() < _MESSAGE_LIMIT:
                    proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
            graph = proto.graph
            infos = (*graph.input, *graph.output, *graph.value_info)
            self._types = {v.name: v.type.tensor_type for v in infos}
        return self._types

    def shape(self, tensor: gs.Tensor) -> Shape | None:
        """Dimensions of *tensor*, None for a free one; None where the rank is not known."""
        if isinstance(tensor, gs.Constant):
            return tuple(int(d) for d in tensor.shape)
        kind = self.infer().get(tensor.name)
        if kind is None or not kind.HasField("shape"):
            return None
        return tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)

    def element_type(self, tensor: gs.Tensor, ctx: Context) -> int | None:
        """The ONNX element type of *tensor*, None where it is not known."""
        known = element_type(tensor, ctx)
        if known is None and not isinstance(tensor, gs.Constant):
            kind = self.infer().get(tensor.name)
            known = kind.elem_type if kind is not None and kind.elem_type else None
        return known
