"""Where float16 occurs in a model, and what keeps a model from being widened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import AttributeProto, TensorProto, TypeProto

from onnxq.graph import Model
from onnxq.graph.attributes import Opaque
from onnxq.graph.nodes import subgraphs
from onnxq.passes._scope import is_standard
from onnxq.passes._types import Stated
from onnxq.pipeline import Context

HALF = int(TensorProto.FLOAT16)
SINGLE = int(TensorProto.FLOAT)
# attributes of standard operators whose value is an element type
TYPE_ATTRIBUTES = frozenset(
    {"to", "dtype", "output_datatype", "output_dtype", "stash_type", "softmax_precision",
     "precision"}
)  # fmt: skip


def is_half(tensor: gs.Tensor) -> bool:
    """Whether *tensor* is stated, or stored, as float16."""
    kind: Any = tensor.export_dtype if isinstance(tensor, gs.Constant) else tensor.dtype
    return kind is not None and not isinstance(kind, int) and np.dtype(kind) == np.float16


def all_tensors(model: Model) -> Iterator[gs.Tensor]:
    """Every tensor of every graph once, by identity: two branches may use one name."""
    seen: set[int] = set()
    for graph in model.graphs():
        edges = (t for n in graph.nodes for t in (*n.inputs, *n.outputs))
        for tensor in (*graph.inputs, *graph.outputs, *edges):
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor


def attribute_constants(node: gs.Node) -> Iterator[gs.Constant]:
    """The tensors among the attributes of *node*, those in lists included."""
    for value in node.attrs.values():
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, gs.Constant):
                yield item


def type_attributes(node: gs.Node) -> list[str]:
    """Attributes of *node* that ask for float16."""
    if not is_standard(node):
        return []
    return [k for k in TYPE_ATTRIBUTES & node.attrs.keys() if node.attrs[k] == HALF]


def holds_half(model: Model) -> bool:
    """Whether float16 occurs anywhere in *model*."""
    return any(map(is_half, all_tensors(model))) or any(
        type_attributes(n) or any(map(is_half, attribute_constants(n))) for n in model.nodes()
    )


def obstacles(model: Model, ctx: Context) -> Iterator[tuple[gs.Node | str, str]]:
    """What cannot be widened: the node, or the name of an input or output, and why."""
    nodes = list(model.nodes())
    foreign = [n for n in nodes if not is_standard(n)]
    if any(t.name and t.dtype is None for n in foreign for t in (*n.inputs, *n.outputs)):
        ctx.learn(model)  # custom operators have no inference
    stated = Stated(model)
    for node in foreign:
        reason = _foreign(node, stated, ctx)
        if reason:
            yield node, reason
    for node in nodes:
        if not is_standard(node):
            continue
        if node.op == "BitCast" and (
            is_half(node.inputs[0]) or is_half(node.outputs[0]) or type_attributes(node)
        ):
            yield node, "it reads the bits of float16, which float32 does not have"
        for name, value in node.attrs.items():
            if isinstance(value, Opaque) and _message_half(value.proto):
                yield node, f"its attribute '{name}' is of float16 and no dense tensor"
    for (role, _), infos in model.carried.infos.items():
        for info in infos:
            if info is not None and _nested_half(info.type):
                yield info.name, f"this {role} is a sequence or the like of float16"


def _foreign(node: gs.Node, stated: Stated, ctx: Context) -> str:
    what = f"the operator {node.domain}::{node.op}"
    if any(map(is_half, attribute_constants(node))):
        return f"{what} holds a float16 tensor"
    inner = [t for g in subgraphs(node) for t in (*g.inputs, *g.outputs)]
    for tensor in (*node.inputs, *node.outputs, *inner):
        kind = stated.element_type(tensor, ctx) if tensor.name else SINGLE
        if kind == HALF:
            return f"{what} has '{tensor.name}' in float16; it may take no other type"
        if kind is None:
            return f"{what} has '{tensor.name}', of unknown type, which may be float16"
    return ""


def _message_half(attribute: AttributeProto) -> bool:
    sparse = (attribute.sparse_tensor, *attribute.sparse_tensors)
    kinds = (attribute.tp, *attribute.type_protos)
    return any(s.values.data_type == HALF for s in sparse) or any(map(_any_half, kinds))


def _nested_half(kind: TypeProto) -> bool:
    return kind.WhichOneof("value") != "tensor_type" and _any_half(kind)


def _any_half(kind: TypeProto) -> bool:
    which = kind.WhichOneof("value")
    if which in ("sequence_type", "optional_type"):
        return _any_half(getattr(kind, which).elem_type)
    if which == "map_type":
        return _any_half(kind.map_type.value_type)
    return which is not None and getattr(kind, which).elem_type == HALF
