"""Constants of a quantized model: scales, zero points, and what its integers stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from onnxq.quant import QParams, dtype
from onnxq.report.groups import Grid
from onnxq.report.nodes import Graph
from onnxq.runtime.session import Session

Values = Mapping[str, NDArray[Any]]

_UNIT = ("Sigmoid", "HardSigmoid", "Softmax")


def evaluate(quantized: onnx.ModelProto, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Values of the constant tensors *names* of *quantized*, computed where nodes compute them."""
    graph = Graph(quantized)
    names = [name for name in dict.fromkeys(names) if name]
    found = {
        n: numpy_helper.to_array(graph.initializers[n]) for n in names if n in graph.initializers
    }
    computed = [n for n in names if n not in found]
    if not computed:
        return found
    part = onnx.ModelProto(ir_version=quantized.ir_version)
    part.opset_import.extend(quantized.opset_import)
    part.functions.extend(quantized.functions)
    part.graph.name = "constants"
    part.graph.node.extend(graph.behind(*computed))
    read = {name for n in part.graph.node for name in n.input}
    part.graph.initializer.extend(t for n, t in graph.initializers.items() if n in read)
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed)
    return found | Session(part, threads=1, optimize=False).run({}, computed)


def qparams(grid: Grid, values: Values) -> QParams | None:
    """Scale and zero point of *grid*; None where they are in blocks, or no integers."""
    scale = np.asarray(values[grid.scale], np.float32)
    zero = values[grid.zero_point] if grid.zero_point else np.zeros(scale.shape, np.uint8)
    if scale.ndim > 1 or str(zero.dtype).startswith("float"):
        return None
    axis = next((int(a.i) for a in grid.node.attribute if a.name == "axis"), 1)
    if scale.size == 1:
        scale, zero = scale.reshape(()), zero.reshape(())
    return QParams(
        scale,
        np.asarray(zero).astype(np.int64),
        dtype(str(zero.dtype)),
        axis=None if scale.ndim == 0 else axis,
    )


def bounds(graph: Graph, tensor: str) -> tuple[float, float]:
    """What the operator that computes *tensor* limits its values to."""
    node = graph.producer.get(tensor)
    if node is None:
        return -np.inf, np.inf
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type in _UNIT:
        return 0.0, 1.0
    if node.op_type != "Clip":
        return -np.inf, np.inf
    found = {a.name: float(a.f) for a in node.attribute}
    low, high = found.get("min", -np.inf), found.get("max", np.inf)
    given = [graph.initializers.get(name) for name in node.input[1:]]
    arrays = [None if t is None else numpy_helper.to_array(t) for t in given]
    if arrays and arrays[0] is not None:
        low = float(arrays[0].reshape(()))
    if len(arrays) > 1 and arrays[1] is not None:
        high = float(arrays[1].reshape(()))
    return low, high
