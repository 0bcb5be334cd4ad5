"""The value of one node whose inputs are stored, by ONNX's reference implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_SMALL = 64
"""Inputs up to this many elements are shown to shape inference, which needs shapes and counts."""


class Refusal(Exception):  # noqa: N818 - not an error: the node stays as it is
    """Why a node is not evaluated."""


def evaluate(node: gs.Node, opset: int, growth: int) -> list[NDArray[Any] | None]:
    """The outputs of *node*, None for one without a name.

    Raises:
        Refusal: the outputs would be more than *growth* bytes larger than the inputs, are not
            plain tensors, or the reference implementation cannot compute them.
    """
    feeds = {t.name: np.asarray(t.values) for t in node.inputs if t.name}
    proto = _alone(node, feeds, opset)
    from onnx.reference import ReferenceEvaluator  # imports every operator: only where one runs

    try:
        types = _types(proto, feeds)
        _limit(types, feeds, growth)
        results = ReferenceEvaluator(proto).run(None, feeds)
    except Refusal:
        raise
    except Exception as error:  # the reference raises whatever its operators raise
        raise Refusal(f"it cannot be evaluated: {type(error).__name__}: {error}") from error
    found = dict(zip([t.name for t in proto.graph.output], results, strict=True))
    return [_checked(found[t.name], types[t.name]) if t.name else None for t in node.outputs]


def _alone(node: gs.Node, feeds: dict[str, NDArray[Any]], opset: int) -> onnx.ModelProto:
    message = helper.make_node(
        node.op, [t.name for t in node.inputs], [t.name for t in node.outputs], node.name or None
    )
    for key, value in node.attrs.items():
        if isinstance(value, gs.Graph):
            raise Refusal("it holds a sub-graph")
        plain = numpy_helper.from_array(value.values) if isinstance(value, gs.Constant) else value
        kind = onnx.AttributeProto.INTS if isinstance(plain, list) and not plain else None
        message.attribute.append(helper.make_attribute(key, plain, attr_type=kind))
    inputs = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=t.name) for t in node.outputs if t.name]
    graph = helper.make_graph([message], "one", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _types(proto: onnx.ModelProto, feeds: dict[str, NDArray[Any]]) -> dict[str, Any]:
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    for name, value in feeds.items():
        if value.size <= _SMALL:
            shown.graph.initializer.append(numpy_helper.from_array(value, name))
    inferred = onnx.shape_inference.infer_shapes(shown, data_prop=True)
    return {v.name: v.type for v in inferred.graph.output}


def _limit(types: dict[str, Any], feeds: dict[str, NDArray[Any]], growth: int) -> None:
    given = sum(v.nbytes for v in feeds.values())
    total = 0
    for kind in types.values():
        dims = kind.tensor_type.shape.dim
        if all(d.HasField("dim_value") for d in dims):
            size = int(np.prod([d.dim_value for d in dims], dtype=np.float64))
            code = kind.tensor_type.elem_type or TensorProto.FLOAT
            total += size * helper.tensor_dtype_to_np_dtype(code).itemsize
    if total - given > growth:
        raise Refusal(
            f"its value takes {total:,} bytes, {total - given:,} more than what it is made of; "
            "try a larger max_growth_mb to store it all the same"
        )


def _checked(value: Any, kind: onnx.TypeProto) -> NDArray[Any]:
    if not isinstance(value, (np.ndarray, np.generic)) or not kind.HasField("tensor_type"):
        raise Refusal("its value is not a tensor")
    array = np.asarray(value)
    code = kind.tensor_type.elem_type
    if code:
        wanted = helper.tensor_dtype_to_np_dtype(code)
        if array.dtype != wanted:
            array = array.astype(wanted)
    if array.dtype.kind not in "fiub":
        raise Refusal(f"its value is of type {array.dtype}")
    return array
