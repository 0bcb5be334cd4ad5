"""Functions of one number, as tables of codes.

An input of 8 bits has 256 codes: the output of each is computed in float32 once, as the float model
does, and rounded as the program rounds. Formulas are those of the ONNX operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute
from onnxq.integer.kinds import Copy
from onnxq.integer.pending import Pending
from onnxq.integer.refuse import refused
from onnxq.integer.sources import Sources

Floats = NDArray[np.floating[Any]]
Curve = Callable[[Floats], Floats]


def _sigmoid(node: gs.Node) -> Curve:
    return lambda x: 1 / (1 + np.exp(-x))


def _tanh(node: gs.Node) -> Curve:
    return np.tanh


def _hard_sigmoid(node: gs.Node) -> Curve:
    alpha, beta = (np.float32(attribute(node, k, d)) for k, d in (("alpha", 0.2), ("beta", 0.5)))
    return lambda x: np.clip(alpha * x + beta, 0, 1)


def _hard_swish(node: gs.Node) -> Curve:
    return lambda x: x * np.clip(np.float32(1 / 6) * x + np.float32(0.5), 0, 1)


def _leaky_relu(node: gs.Node) -> Curve:
    alpha = np.float32(attribute(node, "alpha", 0.01))
    return lambda x: np.where(x < 0, alpha * x, x)


def _elu(node: gs.Node) -> Curve:
    alpha = np.float32(attribute(node, "alpha", 1.0))
    return lambda x: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


CURVES: dict[str, Callable[[gs.Node], Curve]] = {
    "Sigmoid": _sigmoid, "Tanh": _tanh, "HardSigmoid": _hard_sigmoid, "HardSwish": _hard_swish,
    "LeakyRelu": _leaky_relu, "Elu": _elu,
}  # fmt: skip


def curve(at: Sources, node: gs.Node) -> list[Pending]:
    """A table, whose codes are known once the output's format is."""
    x = at.value(node.inputs[0], node)
    if x.dtype not in ("int8", "uint8"):
        raise refused(node, f"its input is {x.dtype}; tables have 256 entries",
                      "quantize its input to 8 bits")  # fmt: skip
    function = CURVES[node.op](node)

    def real() -> NDArray[np.float64]:
        least = int(np.iinfo(x.dtype).min)
        codes = np.arange(least, least + 256, dtype=np.float32)
        with np.errstate(over="ignore"):  # exp of a large number: the curve is flat there
            return function((codes - x.zero_point) * np.float32(x.scale)).astype(np.float64)

    return [Pending(node, Copy(), (x.name,), (1.0,), x.shape, curve=real)]
