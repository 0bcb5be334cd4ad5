"""Stored weights in other forms, as the DequantizeLinear that they stand for.

    w = (Cast(codes) − Cast(zero)) · scale  =  DequantizeLinear(codes, scale, zero)
    MatMulNBits(x, packed codes, scale, zero)  =  MatMul(x, DequantizeLinear(codes, scale, zero))

Runtimes compute the first at load, and the second as it is; readers of models know the right ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import (
    Model,
    attribute,
    constant_value,
    consumers,
    insert_node,
    is_constant,
    producer,
    remove_node,
    replace_uses,
)
from onnxq.passes._scope import present
from onnxq.passes.canonical.raise_opset import RaiseOpset
from onnxq.pipeline import Context
from onnxq.quant.dtypes import FLOATS
from onnxq.quant.nbits import unpack_rows
from onnxq.targets import get_target

_BLOCKS_OPSET = 21
_NEEDS = {2: 25, 4: 21, 8: 21, 16: 21}
"""By bits, the first opset whose DequantizeLinear takes blocks of such codes."""
_WIDENED: dict[int, np.dtype[Any]] = {
    int(onnx.TensorProto.FLOAT): np.dtype(np.float32),
    int(onnx.TensorProto.INT32): np.dtype(np.int32),
    int(onnx.TensorProto.INT64): np.dtype(np.int64),
}
"""What constants are widened to: floats to floats, integers to integers."""
_CODES = {"int8", "uint8", "int4", "uint4", "int2", "uint2", "int16"} | {
    f.numpy.name for f in FLOATS.values()
}


def stores_weights(model: Model) -> bool:
    """Whether a weight of *model*, also in a sub-graph, is stored in this form."""
    return any(True for node in model.nodes() if _stored(node) is not None)


def to_dequantize(model: Model) -> None:
    """Rewrite, in place, all of these forms in the main graph that DequantizeLinear can express.

    Constants that are only widened are read as what they are widened to.
    """
    for node in list(model.graph.nodes):
        if node.op == "Cast" and not model.is_output(node.outputs[0]):
            _widen(model, node)
    packed = [n for n in model.graph.nodes if n.op == "MatMulNBits"]
    opset = max((_NEEDS.get(int(attribute(n, "bits", 4)), 0) for n in packed), default=0)
    if any(codes.dtype == np.int16 for _, codes, *_ in _sites(model.graph)):
        opset = max(opset, _NEEDS[16])
    if opset > model.opset:
        RaiseOpset(opset=opset).run(model, Context(target=get_target("generic")))
    for node in packed:
        _unpack(model, node)
    for found in list(_sites(model.graph)):
        _dequantize(model, *found)


def _widen(model: Model, node: gs.Node) -> None:
    """The constant that the Cast *node* makes, in its place; codes stay codes."""
    value, kind = constant_value(node.inputs[0]), attribute(node, "to")
    wide = _WIDENED.get(int(kind)) if value is not None else None
    if value is None or wide is None or value.dtype.kind not in wide.kind.replace("i", "iu"):
        return
    constant = gs.Constant(model.unique_name(f"{node.outputs[0].name}__value"), value.astype(wide))
    replace_uses(model, node.outputs[0], constant)
    remove_node(model, node)


def _dequantize(
    model: Model,
    node: gs.Node,
    codes: gs.Constant,
    scale: NDArray[Any],
    zero: NDArray[Any] | None,
) -> None:
    """A DequantizeLinear in place of the Mul *node*, where it can express the same."""
    shape, wide = tuple(codes.shape), scale.shape
    kept = [axis for axis, d in enumerate(wide) if d > 1]
    ones = [axis for axis, d in enumerate(shape) if d > 1 and wide[axis] == 1]
    parameters = [scale] if zero is None else [scale, zero]
    if len(kept) <= 1:
        attrs = {"axis": kept[0] if kept else 0}
        parameters = [p.reshape(-1) for p in parameters]
    elif len(ones) == 1 and model.opset >= _BLOCKS_OPSET:
        attrs = {"axis": ones[0], "block_size": int(shape[ones[0]])}
        if _joined(node, shape, ones[0]):
            node, codes, attrs["axis"] = _join(model, node, codes, ones[0])
            parameters = [p.squeeze(ones[0]) for p in parameters]
    else:
        return
    result, name = node.outputs[0], node.name
    inputs = [codes]
    for value, what in zip(parameters, ("scale", "zero_point"), strict=False):
        label = model.unique_name(f"{result.name}__{what}")
        inputs.append(gs.Constant(label, np.ascontiguousarray(value)))
    remove_node(model, node)
    insert_node(model, "DequantizeLinear", inputs, [result], attrs, name=name, like=node)


def _joined(node: gs.Node, shape: tuple[int, ...], axis: int) -> bool:
    """Whether what reads *node* is one Reshape, which joins *axis* to the one before it."""
    uses = consumers(node.outputs[0])
    if len(uses) != 1 or uses[0][0].op != "Reshape" or not axis:
        return False
    to = constant_value(uses[0][0].inputs[1])
    whole = (*shape[: axis - 1], shape[axis - 1] * shape[axis], *shape[axis + 1 :])
    return to is not None and tuple(to.tolist()) == whole


def _join(
    model: Model, node: gs.Node, codes: gs.Constant, axis: int
) -> tuple[gs.Node, gs.Constant, int]:
    """The Reshape behind *node* in its place, on codes in the shape of the weight."""
    (reshape, _), *_ = consumers(node.outputs[0])
    values = constant_value(codes)
    shape = constant_value(reshape.inputs[1])
    assert values is not None and shape is not None
    whole = gs.Constant(model.unique_name(f"{codes.name}__joined"), values.reshape(shape.tolist()))
    remove_node(model, node)
    return reshape, whole, axis - 1


def _unpack(model: Model, node: gs.Node) -> None:
    """A MatMulNBits as DequantizeLinear and MatMul, where the opset has codes of its bits."""
    stored = [constant_value(t) for t in node.inputs[1:3]]
    bits, k, n, size = (int(attribute(node, a, 4)) for a in ("bits", "K", "N", "block_size"))
    zero = constant_value(node.inputs[3]) if present(node, 3) else None
    if any(v is None for v in stored) or model.opset < _NEEDS.get(bits, 99):
        return
    if (present(node, 3) and (zero is None or zero.dtype != np.uint8)) or len(node.inputs) > 4:
        return
    packed, scale = stored
    assert packed is not None and scale is not None
    codes = unpack_rows(packed, bits, size).reshape(n, -1)[:, :k].T
    count = -(-k // size)
    middle = np.full((n, count), 1 << (bits - 1), np.uint8)
    zeros = middle if zero is None else unpack_rows(zero.reshape(n, -1), bits, count)
    kind = np.dtype(getattr(ml_dtypes, f"uint{bits}", np.uint8))
    x, result, name = node.inputs[0], node.outputs[0], node.name
    inputs = [
        gs.Constant(model.unique_name(f"{name}__{what}"), np.ascontiguousarray(value))
        for what, value in (
            ("codes", codes.astype(kind)),
            ("scale", scale.reshape(n, count).T.astype(np.float32)),
            ("zero_point", zeros.T.astype(kind)),
        )
    ]
    remove_node(model, node)
    real = gs.Variable(model.unique_name(f"{name}__weight"))
    attrs = {"axis": 0, "block_size": size}
    insert_node(model, "DequantizeLinear", inputs, [real], attrs, name=f"{name}__dq", like=node)
    insert_node(model, "MatMul", [x, real], [result], name=name, like=node)


def _sites(
    graph: gs.Graph,
) -> Iterator[tuple[gs.Node, gs.Constant, NDArray[Any], NDArray[Any] | None]]:
    for node in graph.nodes:
        found = _stored(node)
        if found is not None:
            yield (node, *found)


def _stored(node: gs.Node) -> tuple[gs.Constant, NDArray[Any], NDArray[Any] | None] | None:
    """Codes, scale and zero point of the Mul *node*; None where it is no such weight."""
    if node.op != "Mul":
        return None
    above, zero = producer(node.inputs[0]), None
    if above is not None and above.op == "Sub":
        zero = _cast(above.inputs[1])
        above = None if zero is None else producer(above.inputs[0])
    codes = None if above is None or above.op != "Cast" else above.inputs[0]
    if codes is None or not is_constant(codes) or np.dtype(codes.dtype).name not in _CODES:
        return None
    scale = _scale(node.inputs[1])
    if scale is None or scale.ndim != len(codes.shape):
        return None
    return codes, scale, None if zero is None else constant_value(zero)


def _scale(tensor: gs.Tensor) -> NDArray[Any] | None:
    """The scales *tensor*: stored, or (reshaped) codes times scales of their own."""
    above = producer(tensor)
    if above is None:
        return constant_value(tensor)
    if above.op == "Cast":
        stored = constant_value(above.inputs[0])
        return None if stored is None or stored.dtype.kind != "f" else stored.astype(np.float32)
    if above.op == "Reshape":
        inner, shape = _scale(above.inputs[0]), constant_value(above.inputs[1])
        return None if inner is None or shape is None else inner.reshape(shape.tolist())
    codes = _cast(above.inputs[0]) if above.op == "Mul" else None
    outer = constant_value(above.inputs[1]) if codes is not None else None
    values = None if codes is None else constant_value(codes)
    if outer is None or values is None:
        return None
    return np.asarray(values.astype(np.float32) * outer, np.float32)


def _cast(tensor: gs.Tensor) -> gs.Tensor | None:
    """The constant that *tensor* is cast from."""
    above = producer(tensor)
    found = None if above is None or above.op != "Cast" else above.inputs[0]
    return found if found is not None and is_constant(found) else None
