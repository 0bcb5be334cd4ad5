"""legalize-shifts: exponents between which the hardware can shift."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model, constant_value, is_constant
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.exponents import exponents, planned_nodes, result
from onnxq.pipeline.scale_groups import scale_groups
from onnxq.quant import QParams, QuantSpec
from onnxq.quant.choose import weight_codes
from onnxq.targets import Arithmetic

_ROUNDS = 8


@dataclass(frozen=True, kw_only=True)
class LegalizeShifts(Pass):
    """Move exponents until every shift is one that the hardware has.

    What it does
        An accumulator has the exponent e_x + e_w, a result e_y: the right shift between them,
        n = e_y − (e_x + e_w), has to lie within the target's limits, for each output channel.
        Where it is too small, the result takes the exponent that makes it just large enough;
        where it is too large, the weights do. Operands of a sum are shifted to the left to the
        smaller of their exponents: where that shift, or the one of the sum, is too large, the
        finer operand becomes coarser. Since one change can ask for another, nodes are visited
        again until none is left.

    Why
        Power-of-two hardware shifts to the right, by so many bits. A result that is finer than
        its accumulator would have to be shifted to the left, and holds nothing more.

    Example
        e_x = −3, e_w = −2, e_y = −6: n = −1. With e_y = −5, n = 0, and nothing is lost.

    When it declines
        Targets that have floating point, or multiply results. Where no exponent is left to move,
        because the user gave the scale, the model is refused.

    Numerics
        A result whose exponent is raised to its accumulator's loses nothing but the half step
        that rounding could not have used. Weights and operands become coarser only at the limits
        of the shifter.

    Source
        AMD Vitis AI, limits of the DPU's shifts (shift_cut, shift_read, shift_write), as its public
        quantizer states them; a sum is never shifted to the left, though it allows that.
    """

    name: ClassVar[str] = "legalize-shifts"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        if ctx.target.integer is None or ctx.target.integer.multiplier:
            return
        nodes = planned_nodes(model, ctx)
        moved = _Moved(model, ctx, ctx.target.integer)
        for _ in range(_ROUNDS):
            changed = [node for node in nodes if moved.repair(node)]
            if not changed:
                return
        raise UnsupportedModelError(
            f"no exponents were found that the shifts of {ctx.target.name} allow",
            why=f"the last node that asked for a change is '{changed[-1].name}'",
            hint=f"--exclude '{changed[-1].name}', or another --calibration",
        )


class _Moved:
    """Repairs the shifts of one node after the other."""

    def __init__(self, model: Model, ctx: Context, arithmetic: Arithmetic) -> None:
        self.ctx, self.arithmetic = ctx, arithmetic
        constants = frozenset(n for n, t in model.tensors().items() if is_constant(t))
        groups = scale_groups(ctx.plan, constants)
        self.group = {name: group for group in groups for name in group.tensors}
        self.tensors = model.tensors()

    def repair(self, node: gs.Node) -> bool:
        """Whether an exponent at *node* was moved."""
        if node.op in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            return self._product(node)
        if node.op == "Mul":
            x, y = (self._exponent(t.name) for t in node.inputs[:2])
            return self._lift(result(node, self.ctx), x + y + self.arithmetic.shift[0], node)
        return node.op == "Add" and self._sum(node)

    def _exponent(self, name: str) -> int:
        centred = not self.arithmetic.zero_points
        return int(exponents(name, self.ctx.qparams[name], centred=centred))

    def _product(self, node: gs.Node) -> bool:
        x, weight, y = node.inputs[0].name, node.inputs[1], result(node, self.ctx)
        least, most = self.arithmetic.shift
        by_channel = exponents(weight.name, self.ctx.qparams[weight.name])
        held = self._exponent(x) + by_channel
        if self._lift(y, int(held.max()) + least, node):
            return True
        coarser = np.maximum(by_channel, self._exponent(y) - most - self._exponent(x))
        if (coarser == by_channel).all():
            return False
        spec, value = self.ctx.plan.tensors[weight.name], constant_value(weight)
        if not isinstance(spec, QuantSpec) or value is None:
            self._refuse(node, weight.name)
        scale = np.ldexp(np.float32(1), coarser.astype(np.int32)).astype(np.float32)
        q = replace(self.ctx.qparams[weight.name], scale=scale)
        assert isinstance(spec, QuantSpec) and value is not None
        self.ctx.qparams[weight.name] = q
        self.ctx.integers[weight.name] = weight_codes(value, q, spec)
        return True

    def _sum(self, node: gs.Node) -> bool:
        names = [t.name for t in node.inputs[:2]]
        own = [self._exponent(name) for name in names]
        finer = names[int(np.argmin(own))]
        if self._lift(finer, max(own) - self.arithmetic.operand_shift, node):
            return True
        y = result(node, self.ctx)
        if self._lift(y, min(own) + self.arithmetic.shift[0], node):
            return True
        return self._lift(finer, self._exponent(y) - self.arithmetic.sum_shift, node)

    def _lift(self, name: str, exponent: int, node: gs.Node) -> bool:
        """Raise the exponent of *name*, and of what shares its scale, to *exponent* at least."""
        q = self.ctx.qparams[name]
        if self._exponent(name) >= exponent:
            return False
        scale = np.asarray(np.ldexp(np.float32(1), exponent), np.float32)
        raised = QParams(scale, q.zero_point, q.dtype, q.axis, q.narrow_range)
        group = self.group.get(name)
        if group is None:  # a constant operand
            value = constant_value(self.tensors[name])
            assert value is not None
            self.ctx.qparams[name], self.ctx.integers[name] = raised, raised.quantize(value)
            return True
        if group.fixed is not None:
            self._refuse(node, name)
        for member in group.tensors:
            self.ctx.qparams[member] = raised
        return True

    def _refuse(self, node: gs.Node, name: str) -> None:
        raise UnsupportedModelError(
            f"'{node.name}' ({node.op}): its shift is not one of {self.arithmetic.shift[0]} to "
            f"{self.arithmetic.shift[1]} bits, and the scale of '{name}' is given",
            hint=f"another range for '{name}' in --overrides, or none",
        )
