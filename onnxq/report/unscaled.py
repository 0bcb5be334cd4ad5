"""Layers whose channels onnxq has scaled, in the units of the float model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxq.pipeline.scaled import scale_factors
from onnxq.quant import QParams
from onnxq.report.layers import Layer
from onnxq.report.pair import Pair

REASON = (
    "its channels were scaled by equalization, which is undone here; its error alone is in the "
    "report of the quantization itself"
)


def unscaled(layer: Layer, pair: Pair) -> Layer:
    """*layer* with the tensor of the float model that it hands on, where only a scale hides it.

    The codes of channel c stand for 1/a_c of what they say, with a_c the factor noted in the
    model: a grid by channel.
    """
    name = layer.result.removesuffix("__q")
    factors = scale_factors(pair.qdq).get(name)
    tensors = pair.original.tensors()
    if layer.tensor is not None or layer.qparams is None or factors is None or name not in tensors:
        return layer
    own = layer.qparams
    if own.axis is not None:
        return layer
    grid = QParams(
        (own.scale / factors).astype(np.float32),
        np.full(factors.shape, own.zero_point, np.int64),
        own.dtype,
        axis=1,
    )
    node = next((n for n in pair.original.graph.nodes if n.name == layer.node.name), None)
    return replace(
        layer, qparams=grid, tensor=name, reason=REASON,
        origin=layer.node.name if node is None else node.name,
        op_type=layer.op_type if node is None else node.op,
    )  # fmt: skip
