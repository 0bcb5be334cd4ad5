"""Element types of tensors: inferred by onnx, and asked of ONNX Runtime where that fails."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import TensorProto

from onnxq.runtime.session import Session

#: Floating-point element types, which calibration can measure.
FLOATS = frozenset(
    (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
)
#: Larger initializers are left out of the copy that is inferred: shapes never depend on them.
LARGEST_SHAPE_CONSTANT = 1024


def inferred(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """Types of the main graph's tensors as far as onnx knows them, by name."""
    known: dict[str, onnx.TypeProto] = {}
    try:
        graph = onnx.shape_inference.infer_shapes(_light(model)).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        graph = model.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.WhichOneof("value"):
            known[value.name] = value.type
    return known


def element_types(model: onnx.ModelProto, names: Iterable[str]) -> dict[str, int]:
    """ONNX element type of each of *names*; 0 for what is no tensor."""
    known = inferred(model)
    kinds = {n: known[n].tensor_type.elem_type for n in names if n in known}
    missing = [n for n in names if not kinds.get(n)]
    if missing:
        trial = onnx.ModelProto()
        trial.CopyFrom(model)
        there = {o.name for o in trial.graph.output}
        trial.graph.output.extend(onnx.ValueInfoProto(name=n) for n in missing if n not in there)
        asked = {o.name: o.dtype for o in Session(trial, threads=1, optimize=False).outputs}
        for name in missing:
            kind = asked[name]
            kinds[name] = 0 if kind is None else int(onnx.helper.np_dtype_to_tensor_dtype(kind))
    return kinds


def _light(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of *model* whose large initializers are only declared, as inputs with a type."""
    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph, source = light.graph, model.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    inputs = {i.name for i in source.input}
    for tensor in source.initializer:
        count = 1
        for d in tensor.dims:
            count *= d
        if count <= LARGEST_SHAPE_CONSTANT:
            graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return light
