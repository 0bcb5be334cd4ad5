"""One node of a model, run alone on arrays of other shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from onnxq.runtime.providers import CPU
from onnxq.runtime.session import Session

Arrays = Mapping[str, NDArray[np.generic]]


def run_alone(
    node: onnx.NodeProto, inputs: Arrays, opsets: list[onnx.OperatorSetIdProto], ir: int
) -> dict[str, NDArray[np.generic]]:
    """Outputs of *node* for *inputs*, its tensors by name, of any shape that it takes.

    Raises:
        OnnxqError: ONNX Runtime cannot run it on them.
    """
    given = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in inputs.items()
    ]
    wanted = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "alone", given, wanted)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir)
    return dict(Session(model, (CPU,), threads=1, optimize=False).run(dict(inputs)))
