"""insert-dynamic-lstm: recurrent layers on codes, by ONNX Runtime's own operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, insert_node
from onnxq.passes._scope import Scope
from onnxq.passes.emit._codes import Codes
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.weight_sites import DYNAMIC_LSTM

_LSTM_INPUTS = 8


@dataclass(frozen=True, kw_only=True)
class InsertDynamicLstm(Pass):
    """Write planned LSTM as DynamicQuantizeLSTM of com.microsoft.

    What it does
        The weights become int8 codes with the rows last, one scale for each gate of each cell; the
        input and the hidden state are quantized in each step. Bias, states, lengths, peepholes
        and attributes stay.

    Why
        An LSTM reads all of its weights in every step, and bytes are a quarter of floats.

    Example
        ``LSTM(x, W, R)``  becomes  ``DynamicQuantizeLSTM(x, Wᵀ, Rᵀ, …, scales, zero points)``.

    When it declines
        Never: planning has left out what has no such form.

    Numerics
        Gates and states are computed in float.

    Source
        ONNX Runtime, ContribOperators.md, com.microsoft.DynamicQuantizeLSTM.
    """

    name: ClassVar[str] = "insert-dynamic-lstm"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    def run(self, model: Model, ctx: Context) -> None:
        scope, codes = Scope(model), Codes(model, ctx)
        for node in list(model.nodes()):
            planned = ctx.plan.nodes.get(node.name)
            if planned is None or planned.kernel != DYNAMIC_LSTM:
                continue
            inputs = list(node.inputs)
            inputs += [gs.Variable.empty() for _ in range(_LSTM_INPUTS - len(inputs))]
            for index in (1, 2):
                weight = inputs[index]
                directions, gates, values = (int(d) for d in weight.shape)
                inputs[index] = codes.of(weight, (directions, values, gates), _rows_last, "_lstm")
                scale = ctx.blocks[weight.name].scale.reshape(directions, gates)
                inputs.append(codes.constant(f"{weight.name}__scale", scale))
                zero = np.zeros(scale.shape, np.int8)
                inputs.append(codes.constant(f"{weight.name}__zero_point", zero))
            attrs = {k: v for k, v in node.attrs.items() if k != "layout"}
            outputs, name, graph = list(node.outputs), node.name, scope.graph(node)
            node.outputs.clear()
            node.name = ""
            insert_node(
                model, DYNAMIC_LSTM, inputs, outputs, attrs, name=name, graph=graph,
                domain="com.microsoft", like=node,
            )  # fmt: skip
            scope.remove(node)


def _rows_last(codes: NDArray[Any]) -> NDArray[Any]:
    return np.transpose(codes, (0, 2, 1))
