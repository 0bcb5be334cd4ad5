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


class StatedShapes:
    """Shapes that hold for every input, from what the model states and ONNX infers of it.

    They differ from ``Context.shape``, which may have been measured on one sample and then holds
    for that sample only. Inference runs when the first shape is asked for.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._shapes: dict[str, Shape] | None = None

    def __call__(self, tensor: gs.Tensor) -> Shape | None:
        """Dimensions of *tensor*, None for a free one; None where the rank is not known."""
        if isinstance(tensor, gs.Constant):
            return tuple(int(d) for d in tensor.shape)
        if self._shapes is None:
            self._shapes = _infer(self._model)
        return self._shapes.get(tensor.name)


def _infer(model: Model) -> dict[str, Shape]:
    proto = model.to_proto()
    # where inference cannot run, what the model states remains
    with contextlib.suppress(RuntimeError, ValueError, onnx.shape_inference.InferenceError):
        if proto.ByteSize() < _MESSAGE_LIMIT:
            proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    graph = proto.graph
    return {
        v.name: tuple(
            d.dim_value if d.HasField("dim_value") else None for d in v.type.tensor_type.shape.dim
        )
        for v in (*graph.input, *graph.output, *graph.value_info)
        if v.type.tensor_type.HasField("shape")
    }
