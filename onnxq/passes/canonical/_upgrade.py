"""How a node of an older opset is written in a newer one.

Each adapter handles one change of one operator, at the opset that brought it. It edits the node in
place and answers with the reason where this node cannot be adapted. Changes that are not listed
here only widen an operator; ``misfit`` finds what was overlooked by asking the operator's schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import replace_input
from onnxq.passes._scope import Scope, present
from onnxq.passes.canonical._upgrade_six import ADAPTERS as OF_OPSET_7
from onnxq.pipeline import Context

Adapter = Callable[[Scope, gs.Node, Context], str]


def _move(scope: Scope, node: gs.Node, key: str, index: int, dtype: type = np.int64) -> None:
    """Turn attribute *key* into the constant input *index*."""
    value = node.attrs.pop(key, None)
    if value is not None:
        _give(scope, node, key, index, np.asarray(value, dtype=dtype))


def _give(scope: Scope, node: gs.Node, key: str, index: int, value: NDArray[Any]) -> None:
    base = next((t.name for t in node.outputs if t.name), node.op)
    constant = gs.Constant(scope.model.unique_name(f"{base}__{key}"), value)
    replace_input(node, index, constant)


def _float_type(scope: Scope, node: gs.Node, ctx: Context) -> Any:
    code = scope.stated.element_type(node.inputs[0], ctx)
    return onnx.helper.tensor_dtype_to_np_dtype(code or onnx.TensorProto.FLOAT)


def _axes(scope: Scope, node: gs.Node, ctx: Context) -> str:
    _move(scope, node, "axes", 1)
    return ""


def _slice(scope: Scope, node: gs.Node, ctx: Context) -> str:
    for index, key in enumerate(("starts", "ends", "axes"), 1):
        _move(scope, node, key, index)
    return ""


def _clip(scope: Scope, node: gs.Node, ctx: Context) -> str:
    dtype = _float_type(scope, node, ctx)
    _move(scope, node, "min", 1, dtype)
    _move(scope, node, "max", 2, dtype)
    return ""


def _pad(scope: Scope, node: gs.Node, ctx: Context) -> str:
    _move(scope, node, "pads", 1)
    if node.attrs.get("value"):
        _move(scope, node, "value", 2, _float_type(scope, node, ctx))
    node.attrs.pop("value", None)
    return ""


def _topk(scope: Scope, node: gs.Node, ctx: Context) -> str:
    node.attrs["k"] = [node.attrs["k"]]
    _move(scope, node, "k", 1)
    return ""


def _split(scope: Scope, node: gs.Node, ctx: Context) -> str:
    _move(scope, node, "split", 1)
    return ""


def _split_count(scope: Scope, node: gs.Node, ctx: Context) -> str:
    if not present(node, 1):
        node.attrs["num_outputs"] = len(node.outputs)
    return ""


def _dropout(scope: Scope, node: gs.Node, ctx: Context) -> str:
    node.attrs.pop("ratio", None)  # at inference the ratio changes nothing
    return ""


def _batchnorm_spatial(scope: Scope, node: gs.Node, ctx: Context) -> str:
    if not node.attrs.get("spatial", 1):
        return "spatial=0 has no form in later opsets"
    node.attrs.pop("spatial", None)
    return ""


def _batchnorm_training(scope: Scope, node: gs.Node, ctx: Context) -> str:
    return "it is in training mode" if any(t.name for t in node.outputs[1:]) else ""


def _resize(scope: Scope, node: gs.Node, ctx: Context) -> str:
    scales = node.inputs[1]
    replace_input(node, 1, gs.Variable.empty())
    node.inputs.append(scales)
    _give(scope, node, "roi", 1, np.zeros(0, dtype=np.float32))  # required until opset 13
    node.attrs["coordinate_transformation_mode"] = "asymmetric"
    if node.attrs.get("mode", "nearest") == "nearest":
        node.attrs["nearest_mode"] = "floor"
    return ""


def _upsample_input(scope: Scope, node: gs.Node, ctx: Context) -> str:
    _move(scope, node, "scales", 1, np.float32)
    return ""


def _upsample(scope: Scope, node: gs.Node, ctx: Context) -> str:
    node.op = "Resize"  # of opset 10, which meant the same
    return ""


def _softmax(scope: Scope, node: gs.Node, ctx: Context) -> str:
    axis, rank = node.attrs.get("axis", 1), ctx.rank(node.inputs[0])
    if axis != -1 and (rank is None or axis % rank != rank - 1):
        return f"axis {axis} of rank {rank or 'unknown'} normalized all later axes together"
    node.attrs["axis"] = -1
    return ""


def _roi_align(scope: Scope, node: gs.Node, ctx: Context) -> str:
    node.attrs.setdefault("coordinate_transformation_mode", "output_half_pixel")
    return ""


def _grid_sample(scope: Scope, node: gs.Node, ctx: Context) -> str:
    mode = node.attrs.get("mode", "bilinear")
    node.attrs["mode"] = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    return ""


def _changed(scope: Scope, node: gs.Node, ctx: Context) -> str:
    return f"the meaning of {node.op} changed"


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
ADAPTERS: Mapping[tuple[str, int], Adapter] = {
    **OF_OPSET_7,
    ("Scan", 9): _changed, ("BatchNormalization", 9): _batchnorm_spatial, ("Slice", 10): _slice,
    ("Upsample", 9): _upsample_input, ("Upsample", 10): _upsample,
    ("TopK", 10): _topk, ("Clip", 11): _clip, ("Pad", 11): _pad,
    ("Resize", 11): _resize,
    ("Dropout", 12): _dropout, ("Squeeze", 13): _axes, ("Unsqueeze", 13): _axes,
    ("ReduceSum", 13): _axes, ("Split", 13): _split, ("Softmax", 13): _softmax,
    ("LogSoftmax", 13): _softmax, ("Hardmax", 13): _softmax,
    ("BatchNormalization", 14): _batchnorm_training, ("RoiAlign", 16): _roi_align,
    ("Split", 18): _split_count, **{(f"Reduce{r}", 18): _axes for r in _REDUCTIONS},
    ("GridSample", 20): _grid_sample, ("GroupNormalization", 21): _changed,
}  # fmt: skip
"""By operator and the opset that changed it, the adapter."""


def misfit(node: gs.Node, opset: int) -> str:
    """Why *node* does not fit its operator's schema at *opset*; empty where it does."""
    try:
        schema = onnx.defs.get_schema(node.op, opset, "")
    except onnx.defs.SchemaError:
        return f"opset {opset} has no operator {node.op}"
    if schema.deprecated:
        return f"{node.op} is deprecated at opset {opset}"
    unknown = set(node.attrs) - set(schema.attributes)
    if unknown:
        return f"{node.op} of opset {opset} has no attribute {', '.join(sorted(unknown))}"
    if not schema.min_input <= len(node.inputs) <= schema.max_input:
        return f"{node.op} of opset {opset} does not take {len(node.inputs)} inputs"
    return ""
