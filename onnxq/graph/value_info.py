"""Value infos: protobuf types to and from the dtype and shape of a graphsurgeon variable."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs
from onnx import TypeProto, ValueInfoProto

from onnxq.graph.dtypes import to_numpy, to_onnx

Shape = list[int | str | None] | None


def decode(type_: TypeProto) -> tuple[Any, Shape, str]:
    """Element dtype, shape and kind (``"tensor_type"``, ``"sequence_type"``, …) of a type.

    dtype and shape are None for what is no tensor: only the original message describes it. A
    dimension is a number, a name, or None where it is not known.
    """
    kind = type_.WhichOneof("value") or "tensor_type"
    if kind != "tensor_type":
        return None, None, kind
    tensor, shape = type_.tensor_type, None
    if tensor.HasField("shape"):
        shape = [getattr(d, w) if (w := d.WhichOneof("value")) else None for d in tensor.shape.dim]
    return to_numpy(tensor.elem_type), shape, kind


def encode(type_: TypeProto, dtype: Any, shape: Any) -> None:
    """Write a tensor type into the empty message *type_*; nothing where nothing is known."""
    if dtype is not None:
        type_.tensor_type.elem_type = to_onnx(dtype)
    if shape is None:
        return
    dims = type_.tensor_type.shape
    dims.SetInParent()
    for size in shape:
        dim = dims.dim.add()
        if isinstance(size, str):
            dim.dim_param = size
        elif size is not None and int(size) >= 0:
            dim.dim_value = int(size)


def describe(tensor: gs.Tensor) -> ValueInfoProto:
    """The value info that name, dtype and shape of *tensor* give."""
    info = ValueInfoProto(name=tensor.name)
    encode(info.type, tensor.dtype, tensor.shape)
    return info


def adopt(variable: gs.Variable, info: ValueInfoProto) -> None:
    """Give *variable* the type that *info* states, as far as it has none yet."""
    if not info.HasField("type"):
        return
    dtype, shape, kind = decode(info.type)
    if variable.dtype is None and variable.type == "tensor_type":
        variable.dtype, variable.type = dtype, kind
    if variable.shape is None:
        variable.shape = shape


def template(tensor: gs.Tensor, info: ValueInfoProto) -> ValueInfoProto | None:
    """A copy of *info* to carry; None where *tensor* gives the same message by itself."""
    if info == describe(tensor):
        return None
    kept = ValueInfoProto()
    kept.CopyFrom(info)
    return kept


def signature(tensor: gs.Tensor) -> tuple[Any, ...]:
    """Type and shape of *tensor*, to compare later."""
    shape = None if tensor.shape is None else tuple(tensor.shape)
    return to_onnx(tensor.dtype), shape, getattr(tensor, "type", "tensor_type")


def fill(
    info: ValueInfoProto,
    tensor: gs.Tensor,
    carried: ValueInfoProto | None,
    loaded: tuple[Any, ...] | None,
) -> None:
    """Write the value info of *tensor* into the empty message *info*.

    Args:
        info: the message.
        tensor: the tensor.
        carried: the message that was loaded, where it says more than the tensor.
        loaded: the `signature` of the tensor at that time.
    """
    if carried is None:
        info.name = tensor.name
        encode(info.type, tensor.dtype, tensor.shape)
        return
    info.CopyFrom(carried)
    info.name = tensor.name
    now = signature(tensor)
    dtype, shape, kind = decode(carried.type)
    stated = to_onnx(dtype), None if shape is None else tuple(shape), kind
    if now in (loaded, stated):
        return
    info.type.ClearField(kind)
    encode(info.type, dtype if tensor.dtype is None else tensor.dtype, tensor.shape)
