"""Which nodes really run as integer kernels: read off ONNX Runtime's optimized graph."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from onnxq.graph import Model
from onnxq.runtime.origins import origins
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session

_INTEGER = frozenset({
    "QGemm", "MatMulIntegerToFloat", "MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM", "QAttention", "MatMulNBits",
})  # fmt: skip
_MOVES = frozenset({
    "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "MaxPool", "NhwcMaxPool",
    "ReduceMax", "ReduceMin", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze", "Identity",
})  # fmt: skip
#: Run on codes where a model says so; between Q and DQ they never do.
_ON_CODES = frozenset({"ArgMax", "Clip", "Concat", "Pad", "SpaceToDepth"})
#: Moves that compute: they are never merged with their neighbours.
_KEPT = frozenset({"MaxPool", "NhwcMaxPool", "ReduceMax", "ReduceMin", "Resize"})
_CODES = frozenset({
    onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT16, onnx.TensorProto.UINT16,
})  # fmt: skip


def kernels(model: Model, providers: Sequence[Provider] = ()) -> dict[str, str]:
    """Operator that each node became in the optimized graph, by the node's name.

    Only nodes that run on integers are in the result: integer kernels by their name
    (``QLinearConv``), data movement on 8-bit values as ``MaxPool (8 bit)``. A fused node keeps the
    name of the node that it was made from. Data movement between integers that the optimizer has
    merged with its neighbours, or moved elsewhere under another name, is ``Transpose (merged)``.

    Raises:
        UnsupportedModelError: ONNX Runtime cannot load the model.
    """
    proto = model.to_proto()
    return kernels_in(proto.graph, optimized(proto, providers).graph)


def optimized(
    model: onnx.ModelProto, providers: Sequence[Provider] = (), *, int8: bool | None = None
) -> onnx.ModelProto:
    """The graph that ONNX Runtime really runs for *model*, at the optimization of deployment.

    Args:
        model: nodes need names of their own to be found again, see ``origins``.
        providers: execution providers, in order.
        int8: whether int8 activations have kernels (Arm) or are made uint8 (x86); None: as here.

    Raises:
        UnsupportedModelError: ONNX Runtime cannot load the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        Session(model, providers, optimized_path=path, int8=int8)
        return onnx.load(path, load_external_data=False)


def kernels_in(graph: onnx.GraphProto, optimized: onnx.GraphProto) -> dict[str, str]:
    """As ``kernels``, for a *graph* and what it was *optimized* to."""
    names = origins(graph, optimized)
    left = set(names.values())
    merged = {n: f"{op} (merged)" for n, op in _moves(graph).items() if n not in left}
    found = integer_nodes(optimized)
    return merged | {names[node]: kernel for node, kernel in found.items() if node in names}


def _moves(graph: onnx.GraphProto) -> dict[str, str]:
    """Operators of the nodes between DequantizeLinear and QuantizeLinear that only move data."""
    codes = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    users: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, set()).add(node.op_type)
    return {
        node.name: node.op_type
        for node in graph.node
        if node.op_type in _MOVES - _KEPT
        and node.input[0] in codes
        and all(users.get(name) == {"QuantizeLinear"} for name in node.output)
    }


def integer_nodes(graph: onnx.GraphProto) -> dict[str, str]:
    """Nodes of an optimized *graph* that run on integers, by their names there."""
    eight_bit: set[str] = {t.name for t in graph.initializer if t.data_type in _CODES}
    eight_bit.update(i.name for i in graph.input if i.type.tensor_type.elem_type in _CODES)
    found: dict[str, str] = {}
    for node in graph.node:
        name = node.name
        if node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear"):
            eight_bit.add(node.output[0])
        elif node.op_type.startswith("QLinear") or node.op_type in _INTEGER:
            found[name] = node.op_type
            if node.op_type.startswith("QLinear") or _requantizes(node):
                eight_bit.update(node.output)
        elif node.op_type in _MOVES | _ON_CODES and node.input and node.input[0] in eight_bit:
            found[name] = f"{node.op_type.removeprefix('Nhwc')} (8 bit)"
            eight_bit.update(node.output if node.op_type != "ArgMax" else ())
    return found


def _requantizes(node: onnx.NodeProto) -> bool:
    """Whether a QGemm has an output scale, so that its output is 8 bit."""
    return node.op_type == "QGemm" and len(node.input) > 7 and bool(node.input[7])
