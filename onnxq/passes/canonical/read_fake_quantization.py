"""The pass ``read-fake-quantization``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, consumers, replace_uses
from onnxq.passes._fake_qdq import MOST_CODES, fake_pair, stated, why_apart
from onnxq.passes._scope import Scope
from onnxq.passes.canonical._captured_pairs import own_pairs
from onnxq.passes.canonical._computed import Computed
from onnxq.passes.canonical._quant_nodes import expand_quant_nodes
from onnxq.passes.canonical._rounding_chain import Chain, rounding_chain
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.trained import TrainedWeight

_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")


@dataclass(frozen=True, kw_only=True)
class ReadFakeQuantization(Pass):
    """Bring the fake quantization of a model from training into one form.

    What it does
        Finds what only rounds: QuantizeLinear and DequantizeLinear of one grid, with a Clip of
        codes between them or without; DequantizeLinear of integer weights; arithmetic around a
        Round, with scale, zero point and clamps in any order, with the sums that straight-through
        estimators leave; Quant nodes of QONNX, which Brevitas exports. A weight becomes the
        float values that its codes stand for, and codes and scales are noted for each node that
        reads it, behind Transpose and Reshape too. Arithmetic on activations becomes
        QuantizeLinear and DequantizeLinear; so does all of it in bodies of If, Loop and Scan, which
        get their own of what is rounded outside: they are quantized as models of their own.

    Why
        Fused with batch-norms, and moved, a weight still is its codes times a scale for each
        channel. And no pass may fold a part of what rounds into its neighbours.

    Example
        ``Round(x / 0.1) → Clip(0, 15) → · 0.1``  becomes  ``QuantizeLinear → Clip → Dequantize…``

    When it declines
        A Round without clamps, or with other steps than a scale and its inverse, is no fake
        quantization: it stays as it is. So does one with more than 256 codes, or a scale for each
        channel of an activation: layers beside it stay in float.

    Numerics
        The same codes, but for ties where x / s and x · (1 / s) differ in the last bit.

    Source
        Jacob et al. 2018, section 3; ONNX operators QuantizeLinear and DequantizeLinear.
    """

    name: ClassVar[str] = "read-fake-quantization"
    stage: ClassVar[Stage] = Stage.CANONICALIZE
    preserves: ClassVar[float | None] = None

    def run(self, model: Model, ctx: Context) -> None:
        expand_quant_nodes(model)
        ctx.trained.read = True
        reader = _Reader(model, ctx)
        for node in list(model.nodes()):
            if node.outputs and node.op in ("Round", "Floor"):
                reader.chain(node)
        own_pairs(model)
        reader = _Reader(model, ctx)
        for node in list(model.graph.nodes):
            if node.outputs and node.op == "DequantizeLinear":
                reader.pair(node)
        model.drop_unused()


class _Reader:
    def __init__(self, model: Model, ctx: Context) -> None:
        self.model, self.ctx = model, ctx
        self.scope, self.known = Scope(model), Computed(model)
        self.outputs = {id(t) for g in model.graphs() for t in g.outputs}

    def inside(self, node: gs.Node) -> bool:
        """Whether *node* is in a body, which is read as a model of its own later."""
        return self.scope.graph(node) is not self.model.graph

    def pair(self, node: gs.Node) -> None:
        """Read the fake quantization, or the integer weight, that *node* dequantizes."""
        stored = self.known.value(node.inputs[0])
        if stored is not None:
            grid = stated(node, self.known.value)
            if isinstance(grid, str):
                self.ctx.decline(node, grid)
                return
            rank = stored.ndim
            steps = stored.astype(np.int64) - grid.along(grid.zero_point, rank)
            scale = grid.along(grid.scale, rank)
            self._weight(node.outputs[0], steps, scale, grid.low, grid.high)
            return
        found = fake_pair(node, self.known.value)
        if isinstance(found, str):
            self.ctx.decline(node, found)
            return
        value = self.known.value(found.source)
        if value is None:
            reason = why_apart(found)
            if reason:
                self._apart(found.source, node.outputs[0], reason)
            return
        codes = np.clip(found.codes.quantize(value), found.low, found.high)
        zero = found.codes.along(found.codes.zero_point, value.ndim)
        scale = found.codes.along(found.codes.scale, value.ndim)
        self._weight(node.outputs[0], codes - zero, scale, found.low, found.high)

    def chain(self, node: gs.Node) -> None:
        """Read the arithmetic around *node*, a Round or Floor."""
        found = rounding_chain(node, self.known.value, self.outputs)
        if isinstance(found, str):
            if node.op == "Round":
                self.ctx.decline(node, found)
            return
        value = self.known.value(found.source)
        users = [user for user, _ in consumers(found.result)]
        if value is not None and any(map(self.inside, [node, *users])):
            self._write(node, found)
        elif value is not None:
            codes = np.rint(value / found.scale + found.zero_point)
            codes = np.clip(codes, found.low, found.high).astype(np.int64)
            low, high = (
                end if np.isfinite(end) else pick(codes)
                for end, pick in ((found.low, np.min), (found.high, np.max))
            )
            zero = found.zero_point.astype(np.int64)
            self._weight(found.result, codes - zero, found.scale, int(low), int(high))
        elif found.scale.size > 1 or found.zero_point.size > 1:
            self._apart(found.source, found.result, "a grid for each channel")
        elif found.high - found.low >= MOST_CODES:
            self._apart(
                found.source, found.result, f"a grid of {found.high - found.low + 1:.0f} codes"
            )
        elif self.model.opset < 12:
            self.ctx.decline(node, f"codes are clipped from opset 12, not {self.model.opset}")
        else:
            self._write(node, found)

    def _write(self, node: gs.Node, found: Chain) -> None:
        """Put QuantizeLinear and DequantizeLinear in the place of *found*."""
        axes = [i for i, size in enumerate(found.scale.shape) if size > 1]
        if (
            len(axes) > 1
            or found.zero_point.size > 1
            or not np.isfinite([found.low, found.high]).all()
        ):
            self.ctx.decline(node, "a grid that QuantizeLinear has not")
            return
        attrs = {"axis": axes[0] - found.scale.ndim} if axes else {}
        low, high, zero = int(found.low), int(found.high), int(found.zero_point.reshape(()))
        signed = low >= -128 and high <= 127 and low < 0
        kind: Any = np.int8 if signed else np.uint8
        shift = 0 if signed or (low >= 0 and high < MOST_CODES) else -low
        ends = np.iinfo(kind)
        if not ends.min <= zero + shift <= ends.max:
            self.ctx.decline(node, f"zero is no code: its zero point is {zero}")
            return
        name, result = node.name or node.outputs[0].name, found.result
        steps = np.asarray(found.scale, np.float32).reshape(-1 if axes else ())
        scale = self._constant(f"{name}__scale", steps)
        point = self._constant(f"{name}__zero_point", np.full(steps.shape, zero + shift, kind))
        codes = gs.Variable(self.model.unique_name(f"{name}__codes"), kind, found.source.shape)
        real = gs.Variable(self.model.unique_name(f"{name}__rounded"), result.dtype, result.shape)
        self._add(node, "QuantizeLinear", [found.source, scale, point], codes, attrs)
        if (low + shift, high + shift) != (ends.min, ends.max):
            bounds = [
                self._constant(f"{name}__{end}", kind(value + shift))
                for end, value in (("least", low), ("most", high))
            ]
            kept = gs.Variable(self.model.unique_name(f"{name}__kept"), kind, found.source.shape)
            self._add(node, "Clip", [codes, *bounds], kept)
            codes = kept
        self._add(node, "DequantizeLinear", [codes, scale, point], real, attrs)
        replace_uses(self.model, result, real)

    def _add(
        self,
        beside: gs.Node,
        op: str,
        inputs: list[gs.Tensor],
        made: gs.Variable,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        name = self.model.unique_name(f"{beside.name or beside.op}__{op.lower()}")
        self.scope.insert(beside, op, inputs, [made], attrs, name=name)

    def _constant(self, name: str, value: Any) -> gs.Constant:
        return gs.Constant(self.model.unique_name(name), np.asarray(value))

    def _apart(self, source: gs.Tensor, result: gs.Tensor, reason: str) -> None:
        for tensor in (source, result):
            self.ctx.trained.apart[tensor.name] = reason

    def _weight(
        self, tensor: gs.Tensor, steps: NDArray[Any], scale: NDArray[Any], low: int, high: int
    ) -> None:
        """Let what reads *tensor* read the constant ``steps · scale``, and note both."""
        bits = max(high - low, 1).bit_length()
        full = np.broadcast_to(np.asarray(scale, np.float64), steps.shape)
        weight = TrainedWeight(steps.astype(np.int32), full, bits)
        if id(tensor) in self.outputs:
            self.ctx.decline(tensor.name, "it is an output of the graph")
            return
        constant = self._constant(f"{tensor.name}__trained", weight.values)
        self._hand_on(tensor, constant, weight)

    def _hand_on(self, tensor: gs.Tensor, constant: gs.Constant, weight: TrainedWeight) -> None:
        """Give *constant* to the readers of *tensor*; move it where they only move."""
        for node, index in consumers(tensor):
            if node.op in _MOVES and index == 0 and not self.scope.is_output(node.outputs[0]):
                moved = self._moved(node, tensor, weight)
                if moved is not None:
                    name = f"{node.outputs[0].name}__trained"
                    self._hand_on(node.outputs[0], self._constant(name, moved.values), moved)
                    continue
            node.inputs[index] = constant
            if node.name:
                self.ctx.trained.weights[node.name, index] = weight

    def _moved(
        self, node: gs.Node, tensor: gs.Tensor, weight: TrainedWeight
    ) -> TrainedWeight | None:
        parts: list[NDArray[Any]] = []
        for part in (weight.steps, np.ascontiguousarray(weight.scale)):
            given = {id(t): self.known.value(t) for t in node.inputs[1:] if t.name}
            if any(v is None for v in given.values()):
                return None
            (made,) = self.known.apply(node, given | {id(tensor): part})
            if made is None:
                return None
            parts.append(made)
        return TrainedWeight(parts[0], parts[1], weight.bits)
