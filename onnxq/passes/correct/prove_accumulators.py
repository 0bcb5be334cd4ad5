"""prove-accumulators: no sum of products can leave the accumulator, whatever the input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model, attribute
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.exponents import exponents, planned_nodes, result
from onnxq.pipeline.scale_groups import scale_groups
from onnxq.quant import Fixed, QuantSpec, Rounding
from onnxq.targets import Arithmetic

KEY = "onnxq.accumulators"
"""Key of the metadata: JSON, by node the smallest and largest value that its accumulator takes."""


@dataclass(frozen=True, kw_only=True)
class ProveAccumulators(Pass):
    """Prove from weights, biases and codes that accumulators cannot overflow.

    What it does
        Adds up, for each output channel, what the stored integers can make of the worst input:
        positive weights times the largest code, negative ones times the smallest, the bias, and
        the half that rounding adds. The sum, and so every part of it in any order, has to fit into
        the target's accumulator. Checks the shifts and the form of all scales once more, too.

    Why
        An overflow wraps around silently on hardware, for one image in a million.

    Example
        9 · 512 products of at most 127 · 128 take 28 bits with sign: they fit into 32.

    When it declines
        Targets that have floating point. What cannot be proven is refused, with the node.

    Numerics
        Changes nothing. Codes behind Relu and Clip are counted as what these let pass.

    Source
        This project's own; the bound is the L1 norm of the weights, as in Colbert et al. 2023,
        "A2Q: Accumulator-Aware Quantization".
    """

    name: ClassVar[str] = "prove-accumulators"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        if ctx.target.integer is None:
            return
        proof = _Proof(ctx, ctx.target.integer)
        found = {node.name: proof.of(node) for node in planned_nodes(model, ctx)}
        ends = {name: one for name, one in found.items() if one is not None}
        model.metadata[KEY] = json.dumps(ends, sort_keys=True)


class _Proof:
    def __init__(self, ctx: Context, arithmetic: Arithmetic) -> None:
        self.ctx, self.arithmetic = ctx, arithmetic
        self.limits: dict[str, tuple[float, float] | None] = {}
        for group in scale_groups(ctx.plan):
            limits = None if group.spec is None else group.spec.limits
            self.limits |= dict.fromkeys(group.tensors, limits)
        for name, planned in ctx.plan.tensors.items():
            if isinstance(planned, QuantSpec | Fixed) and name in ctx.qparams:
                self._exponents(name)  # powers of two, or refused

    def of(self, node: gs.Node) -> list[int] | None:
        """Smallest and largest value in the accumulator of *node*; None where it has none.

        Sums of scales of any value have factors that are chosen so that they fit.

        Raises:
            UnsupportedModelError: they do not fit, or the shift is not one that the target has.
        """
        by_shifts = not self.arithmetic.multiplier
        if node.op in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            low, high, held = self._product(node)
        elif node.op == "Mul" or (node.op == "Add" and by_shifts):
            low, high, held = self._pair(node)
        elif node.op in ("AveragePool", "GlobalAveragePool"):
            low, high, held = *self._mean(node), None
        else:
            return None
        if held is not None and by_shifts:
            shift = self._exponents(result(node, self.ctx)) - held
            self._shift(node, int(shift.min()), int(shift.max()))
            half = 1 << max(int(shift.max()) - 1, 0)
            if self.arithmetic.rounding is not Rounding.FLOOR and shift.max() > 0:
                high += half
        bits = self.arithmetic.accumulator_bits
        if low < -(1 << (bits - 1)) or high >= 1 << (bits - 1):
            raise UnsupportedModelError(
                f"'{node.name}' ({node.op}): its accumulator can reach {low:,} … {high:,}",
                why=f"{self.ctx.target.name} has accumulators of {bits} bits",
                hint=f"--activations int7 or --weights int7, or --exclude '{node.name}'",
            )
        return [low, high]

    def _codes(self, name: str) -> tuple[int, int]:
        """Smallest and largest code of the activation *name*; 0 and its zero point are among them.

        What zero points add up to is part of the bias.
        """
        q, limits = self.ctx.qparams[name], self.limits.get(name)
        low, high, zero = q.qmin, q.qmax, int(q.zero_point)
        if limits is not None:
            scale = float(q.scale)
            low = int(max(low, np.floor(max(limits[0] / scale, -(2.0**40))) + zero))
            high = int(min(high, np.ceil(min(limits[1] / scale, 2.0**40)) + zero))
        return min(low, zero, 0), max(high, zero, 0)

    def _exponents(self, name: str) -> np.ndarray:
        """Exponents of the scales of *name*; 0 where they may be any."""
        if self.arithmetic.multiplier:
            return np.array(0)
        centred = not self.arithmetic.zero_points
        return exponents(name, self.ctx.qparams[name], centred=centred)

    def _product(self, node: gs.Node) -> tuple[int, int, np.ndarray]:
        x, w = node.inputs[0].name, node.inputs[1].name
        codes, axis = np.asarray(self.ctx.integers[w]).astype(np.int64), 0
        if node.op != "Conv":
            axis = 0 if node.op == "Gemm" and attribute(node, "transB", 0) else codes.ndim - 1
        if node.op == "ConvTranspose":  # [in, out / group, …]: channels of a group side by side
            groups = int(attribute(node, "group", 1))
            parts = codes.reshape(groups, -1, *codes.shape[1:]).swapaxes(1, 2)
            rows = parts.reshape(groups * codes.shape[1], -1)
        elif codes.ndim > 2 and node.op == "MatMul":
            rows = np.moveaxis(codes, -2, 0).reshape(codes.shape[-2], -1).T
        else:
            rows = np.moveaxis(codes, axis, 0).reshape(codes.shape[axis], -1)
        least, most = self._codes(x)
        plus, minus = np.maximum(rows, 0).sum(axis=1), np.maximum(-rows, 0).sum(axis=1)
        high, low = plus * most - minus * least, plus * least - minus * most
        bias = self.ctx.integers.get(node.inputs[2].name) if len(node.inputs) > 2 else None
        added = -int(self.ctx.qparams[x].zero_point) * rows.sum(axis=1)
        if bias is not None:
            added = added + np.asarray(bias).astype(np.int64).reshape(-1)
        high, low = high + np.maximum(added, 0), low + np.minimum(added, 0)
        return int(low.min()), int(high.max()), self._exponents(x) + self._exponents(w)

    def _pair(self, node: gs.Node) -> tuple[int, int, np.ndarray]:
        names = [t.name for t in node.inputs[:2]]
        own = [int(self._exponents(n)) for n in names]
        zeros = [int(self.ctx.qparams[n].zero_point) for n in names]
        (a, b), (c, d) = (
            [v - z for v in self._codes(n)] for n, z in zip(names, zeros, strict=True)
        )
        if node.op == "Mul":
            products = (a * c, a * d, b * c, b * d)
            return min(products), max(products), np.array(sum(own))
        left, right = own[0] - min(own), own[1] - min(own)
        if max(left, right) > self.arithmetic.operand_shift:
            raise UnsupportedModelError(
                f"'{node.name}' (Add): an operand would be shifted by {max(left, right)} bits",
                why=f"{self.ctx.target.name} shifts at most {self.arithmetic.operand_shift}",
                hint=f"--exclude '{node.name}', or another --calibration",
            )
        low, high = (a << left) + (c << right), (b << left) + (d << right)
        return low, high, np.array(min(own))

    def _mean(self, node: gs.Node) -> tuple[int, int]:
        shape = self.ctx.shape(node.inputs[0])
        window = attribute(node, "kernel_shape", None) or (shape or ())[2:]
        count = int(np.prod([d or 1 for d in window], dtype=np.int64))
        zero = int(self.ctx.qparams[node.inputs[0].name].zero_point)
        low, high = (v - zero for v in self._codes(node.inputs[0].name))
        return low * count, high * count

    def _shift(self, node: gs.Node, low: int, high: int) -> None:
        least, most = self.arithmetic.shift
        if not least <= low <= high <= most:
            raise UnsupportedModelError(
                f"'{node.name}' ({node.op}) needs a right shift of {low if low < least else high}",
                why=f"{self.ctx.target.name} shifts by {least} to {most} bits",
                hint="add the pass 'legalize-shifts' in front of the biases",
            )
