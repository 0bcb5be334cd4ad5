"""Attributes: protobuf to and from the Python values that graphsurgeon keeps in ``Node.attrs``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, TensorProto, helper

from onnxq.errors import OnnxqError
from onnxq.graph.dtypes import to_onnx
from onnxq.graph.protos import copy_fields, present

A = AttributeProto
# the field that holds the value, by kind
_FIELD = {
    A.FLOAT: "f", A.INT: "i", A.STRING: "s", A.TENSOR: "t", A.GRAPH: "g", A.FLOATS: "floats",
    A.INTS: "ints", A.STRINGS: "strings", A.TENSORS: "tensors", A.GRAPHS: "graphs",
}  # fmt: skip
_KIND = {field: kind for kind, field in _FIELD.items()}
_NESTED = {A.TENSOR, A.GRAPH, A.TENSORS, A.GRAPHS}


@dataclass(frozen=True, eq=False)
class Opaque:
    """An attribute that has no Python value: sparse, a type, a reference, or of unknown kind."""

    proto: AttributeProto


def _kind(attribute: AttributeProto) -> int:
    """The kind; models of IR version 1 do not state it, there the field tells."""
    if attribute.type or attribute.ref_attr_name:
        return int(attribute.type)
    filled = [f for f in present(attribute) if f in _KIND]
    return int(_KIND[filled[0]]) if len(filled) == 1 else 0


def decode(
    attribute: AttributeProto,
    tensor: Callable[[TensorProto], gs.Constant],
    graph: Callable[[GraphProto], gs.Graph],
) -> Any:
    """The Python value of *attribute*; strings that are not UTF-8 keep their bytes as surrogates.

    Args:
        attribute: the message.
        tensor: makes a constant of a tensor.
        graph: makes a graph of a sub-graph.
    """
    kind = _kind(attribute)
    field = _FIELD.get(kind)  # type: ignore[call-overload]
    lacks = kind in (A.TENSOR, A.GRAPH) and not attribute.HasField(str(field))
    if field is None or attribute.ref_attr_name or lacks:
        kept = AttributeProto()
        kept.CopyFrom(attribute)
        return Opaque(kept)
    value = getattr(attribute, field)
    if kind == A.STRING:
        return value.decode("utf-8", "surrogateescape")
    if kind == A.STRINGS:
        return [v.decode("utf-8", "surrogateescape") for v in value]
    if kind == A.TENSOR:
        return tensor(value)
    if kind == A.GRAPH:
        return graph(value)
    if kind == A.TENSORS:
        return [tensor(v) for v in value]
    if kind == A.GRAPHS:
        return [graph(v) for v in value]
    return list(value) if kind in (A.INTS, A.FLOATS) else value


def template(attribute: AttributeProto, value: Any) -> AttributeProto | None:
    """What to carry of *attribute* so that it can be written again; None: *value* is enough."""
    if isinstance(value, Opaque):
        return None
    kind = _kind(attribute)
    field = _FIELD[kind]  # type: ignore[index]
    if present(attribute) == {"name", "type", field} and attribute.type == kind:
        return None
    return copy_fields(attribute, AttributeProto(), skip=(field,) if kind in _NESTED else ())


def encode(
    attribute: AttributeProto,
    node: gs.Node,
    name: str,
    carried: AttributeProto | None,
    opset: int,
    tensor: Callable[[TensorProto, gs.Constant], None],
    graph: Callable[[GraphProto, gs.Graph], None],
) -> None:
    """Write attribute *name* of *node* into the empty message *attribute*.

    Raises:
        OnnxqError: an empty list of unknown element type, or a value that ONNX has no kind for.
    """
    value = node.attrs[name]
    if isinstance(value, Opaque):
        attribute.CopyFrom(value.proto)
        attribute.name = name
        return
    kind = _value_kind(value) or (carried.type if carried is not None else 0)
    stated = _schema_kind(node.op, node.domain or "", opset, name) if carried is None else 0
    if not kind or (kind, stated) in ((A.INT, A.FLOAT), (A.INTS, A.FLOATS)):
        kind = stated  # an empty list, or whole numbers where the operator asks for floats
    if isinstance(value, list) and not value and kind == A.INTS and carried is not None:
        kind = carried.type
    if carried is not None:
        copy_fields(carried, attribute)
        old = _kind(carried)
        if kind == old and kind not in _NESTED and _same(carried, kind, value):
            attribute.name = name
            return
        if old in _FIELD:
            attribute.ClearField(_FIELD[old])  # type: ignore[index]
        if kind != old:
            attribute.type = kind  # type: ignore[assignment]
    attribute.name = name
    if carried is None:
        attribute.type = kind  # type: ignore[assignment]
    if kind == A.TENSOR:
        tensor(attribute.t, value)
    elif kind == A.GRAPH:
        graph(attribute.g, value)
    elif kind == A.TENSORS:
        for item in value:
            tensor(attribute.tensors.add(), item)
    elif kind == A.GRAPHS:
        for item in value:
            graph(attribute.graphs.add(), item)
    else:
        _plain(attribute, kind, value, f"attribute '{name}' of node '{node.name}' ({node.op})")


def _plain(attribute: AttributeProto, kind: int, value: Any, where: str) -> None:
    if kind == A.FLOAT:
        attribute.f = float(value)
    elif kind == A.INT:
        attribute.i = to_onnx(value) if isinstance(value, (type, np.dtype)) else int(value)
    elif kind == A.STRING:
        attribute.s = _bytes(value)
    elif kind == A.FLOATS:
        attribute.floats.extend(float(v) for v in value)
    elif kind == A.INTS:
        attribute.ints.extend(int(v) for v in value)
    elif kind == A.STRINGS:
        attribute.strings.extend(_bytes(v) for v in value)
    else:
        try:
            made = helper.make_attribute(attribute.name, value)
        except (TypeError, ValueError) as error:
            raise OnnxqError(f"{where} cannot be written: {value!r}", why=str(error)) from error
        attribute.CopyFrom(made)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def _same(carried: AttributeProto, kind: int, value: Any) -> bool:
    fresh, old = AttributeProto(), AttributeProto()
    _plain(fresh, kind, value, "")
    field = _FIELD[kind]  # type: ignore[index]
    copy_fields(carried, old, skip=present(carried) - {field})
    if not hasattr(getattr(old, field), "extend"):
        setattr(old, field, getattr(old, field))  # a default that is not written is the same value
    return bool(old == fresh)


def _value_kind(value: Any) -> int:
    """The kind that a Python value is written as; 0 where it does not tell."""
    if isinstance(value, (list, tuple, np.ndarray)):
        kinds = {_value_kind(v) for v in value}
        if kinds == {A.INT, A.FLOAT}:
            return int(A.FLOATS)
        plural = {A.FLOAT: A.FLOATS, A.INT: A.INTS, A.STRING: A.STRINGS, A.TENSOR: A.TENSORS,
                  A.GRAPH: A.GRAPHS}  # fmt: skip
        return int(plural.get(kinds.pop(), 0)) if len(kinds) == 1 else 0  # type: ignore[call-overload]
    if isinstance(value, (bool, int, np.integer, np.bool_, np.dtype)):
        return int(A.INT)
    if isinstance(value, type) and issubclass(value, np.generic):
        return int(A.INT)
    if isinstance(value, (float, np.floating)):
        return int(A.FLOAT)
    if isinstance(value, (str, bytes)):
        return int(A.STRING)
    if isinstance(value, gs.Constant):
        return int(A.TENSOR)
    return int(A.GRAPH) if isinstance(value, gs.Graph) else 0


@lru_cache(maxsize=4096)
def _schema_kind(op: str, domain: str, opset: int, name: str) -> int:
    """The kind that the operator's schema states; 0 where there is none."""
    try:
        schema = onnx.defs.get_schema(op, opset, "" if domain == "ai.onnx" else domain)
    except onnx.defs.SchemaError:
        return 0
    attribute = schema.attributes.get(name)
    return int(attribute.type.value) if attribute else 0  # type: ignore[attr-defined]
