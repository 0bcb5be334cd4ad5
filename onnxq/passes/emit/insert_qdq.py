"""insert-qdq: write the plan into the graph as QuantizeLinear and DequantizeLinear nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import (
    Model,
    bypass,
    consumers,
    insert_node,
    is_constant,
    producer,
    replace_input,
)
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.eligibility import clamp
from onnxq.quant import DTYPES, QParams, Shared
from onnxq.targets import Role


@dataclass(frozen=True, kw_only=True)
class InsertQdq(Pass):
    """Surround every planned node with Q/DQ pairs that the runtime fuses into integer kernels.

    What it does
        Where fewer codes are in use than the type has (7 bits, or a scale that is a power of two
        and reaches beyond an absorbed activation), they are clipped: as codes where the target
        can, in floats in front of QuantizeLinear elsewhere. Behind each integer node its output
        is quantized and dequantized; the dequantized tensor keeps the old name, the tensor before
        it is called ``NAME__float``. A float tensor that an integer node reads gets a Q/DQ pair
        on that edge alone. Weights and biases become integer constants with a DequantizeLinear.
        Absorbed activations are removed where the range of codes stands for them.

    Why
        QDQ is plain ONNX: any runtime can run it, and ONNX Runtime, TensorRT and OpenVINO fuse it
        into integer kernels. Zero points are explicit and activation scales of rank 0, because
        the fusions ask for it.

    Example
        ``insert-qdq{float_weights=true}``

    When it declines
        An activation whose limits the codes exceed by more than half a step is kept where codes
        cannot be clipped.

    Numerics
        A removed activation clamps to its limits within half a quantization step.

    Source
        ONNX operators QuantizeLinear-13 and DequantizeLinear-13.

    Attributes:
        float_weights: keep weights in float and quantize them in the graph.
    """

    name: ClassVar[str] = "insert-qdq"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    float_weights: bool = False

    def run(self, model: Model, ctx: Context) -> None:
        writer = _Writer(model, ctx, self.float_weights)
        nodes = {n.name: n for n in model.graph.nodes if n.name in ctx.plan.nodes}
        bare = set()
        if ctx.target.removes_absorbed:
            bare = {node.name for node in nodes.values() if _absorb(model, ctx, node)}
        for name, value in ctx.biases.items():
            if name not in ctx.qparams:  # the target keeps biases in float
                model.tensors()[name].values = value
        adds = {p.adds for p in ctx.plan.nodes.values() if p.adds is not None}
        tensors = {n: t for n, t in model.tensors().items() if n in ctx.qparams}
        for name, tensor in tensors.items():
            edges = [
                (user, index)
                for user, index in consumers(tensor)
                if (user.name, index) in adds
                or (
                    user.name in nodes
                    and nodes[user.name] is user
                    and index in ctx.plan.nodes[user.name].inputs
                )
            ]
            if is_constant(tensor):
                writer.constant(tensor, edges, name)
            elif (above := _integer_producer(tensor, ctx, bare)) is not None:
                writer.output(tensor, above, edges)
            elif name in ctx.plan.rounded:
                writer.rounded(tensor, edges)
            elif edges:
                writer.edges(tensor, edges)


def _integer_producer(tensor: gs.Tensor, ctx: Context, bare: set[str]) -> gs.Node | None:
    """The node behind which *tensor* is quantized, None where it is a float tensor.

    Behind an activation that was absorbed but not removed, that activation; *bare* are the nodes
    whose activations were removed.
    """
    above = producer(tensor)
    if above is None:
        return None
    planned = ctx.plan.nodes.get(above.name)
    if planned and planned.outputs and (not planned.absorbs or above.name in bare):
        return above
    if any(p.absorbs and p.absorbs[-1] == above.name for p in ctx.plan.nodes.values()):
        return above
    return None


def _absorb(model: Model, ctx: Context, node: gs.Node) -> bool:
    """Remove the activations behind *node* that its quantized range stands for; whether it did."""
    planned = ctx.plan.nodes[node.name]
    if not planned.absorbs:
        return False
    behind = [consumers(node.outputs[0])[0][0]]
    while behind[-1].name != planned.absorbs[-1]:
        behind.append(consumers(behind[-1].outputs[0])[0][0])
    result = behind[-1].outputs[0]
    bounds = [b for a in behind if (b := clamp(a)) is not None]
    limits = (max(low for low, _ in bounds), min(high for _, high in bounds))
    name, q = result.name, ctx.qparams[result.name]
    low, high = q.real_range
    step = float(q.scale)
    if not (low >= limits[0] - step / 2 and high <= limits[1] + step / 2):
        if not (ctx.target.clips_codes and q.dtype.storage in ("int8", "uint8")):
            reach = f"{low:.4g} … {high:.4g}"
            ctx.decline(node, f"codes reach {reach}, beyond {limits}: activation kept")
            return False
        ends = np.clip(np.rint(np.array(limits) / step) + int(q.zero_point), q.qmin, q.qmax)
        ctx.qparams[name] = replace(q, codes=(int(ends[0]), int(ends[1])))
    for activation in reversed(behind):
        bypass(model, activation)
    node.outputs[0].name = name
    return True


class _Writer:
    """Creates Q, DQ and their constants."""

    def __init__(self, model: Model, ctx: Context, float_weights: bool) -> None:
        self.model, self.ctx, self.float_weights = model, ctx, float_weights
        self.parameters: dict[tuple[int, str], tuple[gs.Constant, gs.Constant]] = {}
        self.padded = {n.inputs[0].name for n in model.graph.nodes if n.op == "Pad"}

    def _constant(self, name: str, value: NDArray[np.generic]) -> gs.Constant:
        return gs.Constant(self.model.unique_name(name), np.array(value, order="C"))

    def _scale_and_zero(self, name: str, q: QParams) -> tuple[gs.Constant, gs.Constant]:
        """Constants of *q*; tensors that share parameters share them, but those that are padded.

        OpenVINO pads a zero point where it is stored, and the shape of all who read it changes.
        """
        key = id(q), name if name in self.padded else ""
        if key not in self.parameters:
            self.parameters[key] = (
                self._constant(f"{name}__scale", q.scale.astype(np.float32)),
                self._constant(f"{name}__zero_point", q.zero_point.astype(q.dtype.numpy)),
            )
        return self.parameters[key]

    def _node(
        self, op: str, name: str, source: gs.Tensor, out: gs.Tensor, q: QParams, key: str
    ) -> None:
        scale, zero = self._scale_and_zero(key, q)
        attrs = {} if q.axis is None else {"axis": q.axis}
        insert_node(
            self.model, op, [source, scale, zero], [out], attrs, name=self.model.unique_name(name)
        )

    def output(self, tensor: gs.Tensor, above: gs.Node, edges: list[tuple[gs.Node, int]]) -> None:
        """Quantize what *above* writes; *tensor* becomes the dequantized value."""
        name, q = tensor.name, self.ctx.qparams[tensor.name]
        raw = gs.Variable(self.model.unique_name(f"{name}__float"), tensor.dtype, tensor.shape)
        slot = next(i for i, t in enumerate(above.outputs) if t is tensor)
        above.outputs[slot] = raw
        moved = (  # clipped where it comes from
            isinstance(self.ctx.plan.tensors.get(name), Shared)
            and above.name in self.ctx.plan.nodes
            and self.ctx.target.rules[above.op].role is Role.MOVE
        )
        codes = self._codes(raw, q, name, tensor, clip=not moved)
        self._node("DequantizeLinear", f"{name}__dequantize", codes, tensor, q, name)
        if self.model.is_output(tensor) and edges:  # a DQ that is a graph output does not fuse
            self._second_dq(tensor, codes, edges, q)

    def edges(self, tensor: gs.Tensor, edges: list[tuple[gs.Node, int]]) -> None:
        """Quantize the float *tensor* for the uses *edges* alone."""
        name, q = tensor.name, self.ctx.qparams[tensor.name]
        self._second_dq(tensor, self._codes(tensor, q, name, tensor), edges, q)

    def rounded(self, tensor: gs.Tensor, edges: list[tuple[gs.Node, int]]) -> None:
        """Round the float *tensor* for all that reads it."""
        above = producer(tensor)
        if above is None:
            self.edges(tensor, consumers(tensor))
        else:
            self.output(tensor, above, edges)

    def _codes(
        self, source: gs.Tensor, q: QParams, name: str, like: gs.Tensor, *, clip: bool = True
    ) -> gs.Variable:
        """The codes of *source*, clipped where fewer are in use than the type has."""
        narrow = not q.dtype.floating and DTYPES[q.dtype.storage].bits != q.dtype.bits
        clip &= q.codes is not None or narrow
        of_codes = (
            clip and q.dtype.storage in ("int8", "uint8") and self.model.opset >= 12
            and self.ctx.target.clips_codes
        )  # fmt: skip
        final = gs.Variable(self.model.unique_name(f"{name}__q"), q.dtype.numpy, like.shape)
        made = final
        if of_codes:
            made = gs.Variable(self.model.unique_name(f"{name}__all"), q.dtype.numpy, like.shape)
        elif clip:
            source = self._clipped(source, q, name)
        self._node("QuantizeLinear", f"{name}__quantize", source, made, q, name)
        if of_codes:
            ends = [
                self._constant(f"{name}__{end}", np.array(value, q.dtype.numpy))
                for end, value in (("least", q.qmin), ("most", q.qmax))
            ]
            key = self.model.unique_name(f"{name}__clip")
            insert_node(self.model, "Clip", [made, *ends], [final], name=key)
        return final

    def _clipped(self, tensor: gs.Tensor, q: QParams, name: str) -> gs.Tensor:
        """*tensor*, clipped to what the codes in use stand for."""
        ends = [
            self._constant(f"{name}__{end}", np.array(value, np.float32))
            for end, value in zip(("least", "most"), q.real_range, strict=True)
        ]
        made = gs.Variable(self.model.unique_name(f"{name}__clipped"), np.float32, tensor.shape)
        key = self.model.unique_name(f"{name}__clip")
        insert_node(self.model, "Clip", [tensor, *ends], [made], name=key)
        return made

    def _second_dq(
        self, tensor: gs.Tensor, codes: gs.Tensor, edges: list[tuple[gs.Node, int]], q: QParams
    ) -> None:
        name = tensor.name
        real = gs.Variable(self.model.unique_name(f"{name}__dq"), np.float32, tensor.shape)
        self._node("DequantizeLinear", f"{name}__dequantize", codes, real, q, name)
        for node, index in edges:
            replace_input(node, index, real)

    def constant(self, tensor: gs.Tensor, edges: list[tuple[gs.Node, int]], name: str) -> None:
        """Let *edges* read the integers chosen for the constant *tensor*."""
        q = self.ctx.qparams[name]
        codes = np.asarray(self.ctx.integers[name])
        real = gs.Variable(self.model.unique_name(f"{name}__dq"), np.float32, codes.shape)
        stored: gs.Tensor
        if self.float_weights and codes.dtype != np.int32:
            # the values that the codes stand for: quantizing them gives the codes again
            value = self._constant(f"{name}__rounded", q.dequantize(codes))
            stored = gs.Variable(self.model.unique_name(f"{name}__q"), q.dtype.numpy, codes.shape)
            self._node("QuantizeLinear", f"{name}__quantize", value, stored, q, name)
        else:
            stored = self._constant(f"{name}__q", codes)
        self._node("DequantizeLinear", f"{name}__dequantize", stored, real, q, name)
        for node, index in edges:
            replace_input(node, index, real)
