"""Conv, ConvTranspose, Gemm and MatMul with a constant weight, seen alike.

All four compute ``y = W ⊛ x + bias``, so a factor and a shift for each channel, before or behind,
can move into the weight and the bias:

    a·(W ⊛ x + bias) + b   =  (a·W) ⊛ x + (a·bias + b)           a, b: one for each output channel
    W ⊛ (a·x + b) + bias   =  (W·a) ⊛ x + (bias + W ⊛ b)         a, b: one for each input channel

The algebra is done in float64 and rounded once to the type of the weight. Padding is zeros that
stand behind a shift, which is why a shift from before moves only through an unpadded Conv.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute, constant_value
from onnxq.passes._scope import Scope, present
from onnxq.pipeline import Context

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Linear:
    """A linear node and its constants, in float64.

    Attributes:
        node: the node.
        weight: its weight, shaped as stored.
        bias: its bias, broadcastable to the output (times ``beta`` for Gemm); None without one.
        dtype: the type of the stored weight.
    """

    node: gs.Node
    weight: Floats
    bias: Floats | None
    dtype: np.dtype[Any]

    @property
    def group(self) -> int:
        """Number of groups (1 for matrices)."""
        return int(attribute(self.node, "group", 1))

    @property
    def transposed(self) -> bool:
        """Whether the stored matrix is [N, K] instead of [K, N] (Gemm's transB)."""
        return self.node.op == "Gemm" and bool(attribute(self.node, "transB", 0))

    @property
    def channels_in(self) -> int:
        """Channels of the input."""
        shape = self.weight.shape
        if self.node.op == "Conv":
            return int(shape[1]) * self.group
        if self.node.op == "ConvTranspose":
            return int(shape[0])
        return int(shape[-1] if self.transposed else shape[-2])

    @property
    def channels_out(self) -> int:
        """Channels of the output."""
        shape = self.weight.shape
        if self.node.op == "Conv":
            return int(shape[0])
        if self.node.op == "ConvTranspose":
            return int(shape[1]) * self.group
        return int(shape[-2] if self.transposed else shape[-1])

    def times_out(self, factor: Floats) -> Floats:
        """The weight with each output channel multiplied by *factor* [channels_out]."""
        w, g = self.weight, self.group
        if self.node.op == "Conv":
            return w * factor.reshape(-1, *[1] * (w.ndim - 1))
        if self.node.op == "ConvTranspose":  # [I, O/g, k…], output channels by group
            grouped = w.reshape(g, -1, *w.shape[1:])
            return (grouped * factor.reshape(g, 1, -1, *[1] * (w.ndim - 2))).reshape(w.shape)
        return w * (factor[:, None] if self.transposed else factor)

    def times_in(self, factor: Floats) -> Floats:
        """The weight with each input channel multiplied by *factor* [channels_in]."""
        w, g = self.weight, self.group
        if self.node.op == "Conv":  # [O, I/g, k…], input channels by group
            grouped = w.reshape(g, -1, *w.shape[1:])
            return (grouped * factor.reshape(g, 1, -1, *[1] * (w.ndim - 2))).reshape(w.shape)
        if self.node.op == "ConvTranspose":
            return w * factor.reshape(-1, *[1] * (w.ndim - 1))
        return w * (factor if self.transposed else factor[:, None])

    def response(self, shift: Floats) -> Floats:
        """The output [channels_out] to a constant input *shift* [channels_in], without bias."""
        w = self.times_in(shift)
        if self.node.op == "Conv":
            return np.asarray(w.reshape(w.shape[0], -1).sum(axis=1))
        total = np.asarray(w.sum(axis=-1 if self.transposed else -2))
        return total * float(attribute(self.node, "alpha", 1.0))


def linear(node: gs.Node) -> Linear | str:
    """*node* as a linear one, or the reason why its constants cannot be changed."""
    weight = constant_value(node.inputs[1])
    if weight is None:
        return f"its weight '{node.inputs[1].name}' is computed; try 'fold-constants' first"
    if weight.dtype.kind != "f":
        return f"its weight '{node.inputs[1].name}' is of type {weight.dtype}, not a float"
    if weight.ndim < 2:
        return "its weight is a vector, which has no output channels"
    if attribute(node, "group", 1) > 1 and weight.shape[0] % attribute(node, "group", 1):
        return "its channels do not divide by its groups"
    bias = None
    if node.op != "MatMul" and present(node, 2):
        value = constant_value(node.inputs[2])
        if value is None:
            return f"its bias '{node.inputs[2].name}' is computed; try 'fold-constants' first"
        bias = value.astype(np.float64) * float(attribute(node, "beta", 1.0))
    return Linear(node, weight.astype(np.float64), bias, weight.dtype)


def unpadded(node: gs.Node) -> bool:
    """Whether a Conv reads nothing but its input: no padding by number or by name."""
    if attribute(node, "auto_pad", "NOTSET") in {"SAME_UPPER", "SAME_LOWER"}:
        kernel = node.inputs[1].shape[2:]
        return all(k == 1 for k in kernel)
    return not any(attribute(node, "pads", ()))


def fold_after(scope: Scope, at: Linear, node: gs.Node, factor: Floats, shift: Floats) -> str:
    """Let ``factor·y + shift``, which *node* computes behind *at*, move into *at*.

    *factor* and *shift* are [channels_out]. A MatMul that is given a bias is one of matrices, and
    becomes a Gemm. Returns why that cannot be, or an empty string.
    """
    weight = at.times_out(factor)
    bias = shift if at.bias is None else at.bias * factor + shift
    needed = at.bias is not None or bool(np.any(bias))
    reason = _store(scope, at, weight, bias if needed and at.node.op != "MatMul" else None)
    if reason:
        return reason
    scope.absorb(node, at.node)
    if needed and at.node.op == "MatMul":
        _to_gemm(scope, at, bias)
    return ""


def fold_before(
    scope: Scope, at: Linear, factor: Floats, shift: Floats, *, rank: int | None
) -> str:
    """Let the input of *at* be x where it was ``factor·x + shift`` (both [channels_in]).

    The caller takes the node before away. A MatMul that is given a bias becomes a Gemm where
    *rank*, that of x, is 2, and gets an Add behind it elsewhere. Returns why that cannot be, or
    an empty string.
    """
    weight = at.times_in(factor)
    bias: Floats | None = None
    if np.any(shift):
        if at.node.op == "ConvTranspose":
            return "a shift before a ConvTranspose gives less near the borders than inside"
        if at.node.op == "Conv" and not unpadded(at.node):
            return "the Conv pads with zeros, which a shift before it does not move"
        if at.node.op == "MatMul" and at.weight.ndim > 2:
            return "its weight is a stack of matrices, each of which needs a bias of its own"
        response = at.response(shift)
        bias = response if at.bias is None else at.bias + response
    matmul_bias = bias if at.node.op == "MatMul" else None
    reason = _store(scope, at, weight, None if at.node.op == "MatMul" else bias)
    if not reason and matmul_bias is not None:
        (_to_gemm if rank == 2 else _add_behind)(scope, at, matmul_bias)
    return reason


def leaves_codes(node: gs.Node, factor: Floats, ctx: Context) -> str:
    """Why *factor* [channels_in] must not move into *node*; empty where it may.

    The codes of a trained weight bear one factor for each output channel, not for each input.
    """
    if (node.name, 1) not in ctx.trained.weights or np.all(factor == factor.flat[0]):
        return ""
    return f"the weight of '{node.name}' has codes from training, with no scale for each input"


def _store(scope: Scope, at: Linear, weight: Floats, bias: Floats | None) -> str:
    with np.errstate(over="ignore"):
        stored = [v.astype(at.dtype) for v in (weight, bias) if v is not None]
    if not all(np.isfinite(v).all() for v in stored):
        return f"the folded weight or bias is beyond the range of {at.dtype}"
    scope.set_constant(at.node, 1, stored[0])
    if bias is not None:
        scope.set_constant(at.node, 2, stored[1], f"{at.node.inputs[1].name}__bias")
        if at.node.op == "Gemm":
            at.node.attrs.pop("beta", None)
    return ""


def _to_gemm(scope: Scope, at: Linear, bias: Floats) -> None:
    at.node.op = "Gemm"
    scope.set_constant(at.node, 2, bias.astype(at.dtype), f"{at.node.inputs[1].name}__bias")


def _add_behind(scope: Scope, at: Linear, bias: Floats) -> None:
    """Put ``+ bias`` behind a MatMul of higher rank, which has no bias of its own."""
    node, result = at.node, at.node.outputs[0]
    partial = gs.Variable(
        scope.model.unique_name(f"{result.name}__matmul"), result.dtype, result.shape
    )
    node.outputs[0] = partial
    value = bias.astype(at.dtype)
    constant = gs.Constant(scope.model.unique_name(f"{node.inputs[1].name}__bias"), value)
    name = scope.model.unique_name(f"{node.name or node.op}__bias")
    scope.insert(node, "Add", [partial, constant], [result], name=name)
