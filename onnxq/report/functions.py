"""Activation functions written as nodes: the counterparts of ``onnxq.quant.activations``."""

from __future__ import annotations

import numpy as np

from onnxq.report.reductions import Reducer


def apply(reducer: Reducer, tensor: str, function: str, scale: float) -> str:
    """Nodes for s · f(x / s) of *tensor*, with f a *function* of ``onnxq.quant.activations``."""
    if scale != 1.0:
        tensor = reducer.node("Div", [tensor, reducer.constant(np.array(scale, np.float32))])
    tensor = _FUNCTIONS[function](reducer, tensor)
    if scale != 1.0:
        tensor = reducer.node("Mul", [tensor, reducer.constant(np.array(scale, np.float32))])
    return tensor


def _sigmoid(reducer: Reducer, x: str) -> str:
    return reducer.node("Sigmoid", [x])


def _tanh(reducer: Reducer, x: str) -> str:
    return reducer.node("Tanh", [x])


def _silu(reducer: Reducer, x: str) -> str:
    return reducer.node("Mul", [x, _sigmoid(reducer, x)])


def _hardsigmoid(reducer: Reducer, x: str) -> str:
    return reducer.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)


def _hardswish(reducer: Reducer, x: str) -> str:
    return reducer.node("Mul", [x, _hardsigmoid(reducer, x)])


def _gelu(reducer: Reducer, x: str) -> str:
    def number(value: float) -> str:
        return reducer.constant(np.array(value, np.float32))

    cube = reducer.node("Mul", [x, reducer.node("Mul", [x, x])])
    inner = reducer.node("Add", [x, reducer.node("Mul", [cube, number(0.044715)])])
    gate = _tanh(reducer, reducer.node("Mul", [inner, number(np.sqrt(2 / np.pi))]))
    half = reducer.node("Mul", [x, number(0.5)])
    return reducer.node("Mul", [half, reducer.node("Add", [gate, number(1.0)])])


_FUNCTIONS = {
    "sigmoid": _sigmoid, "silu": _silu, "hardsigmoid": _hardsigmoid, "hardswish": _hardswish,
    "gelu": _gelu, "tanh": _tanh,
}  # fmt: skip
