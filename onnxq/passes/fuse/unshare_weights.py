"""The pass ``unshare-weights``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute, consumers, replace_input
from onnxq.passes._scope import Scope, is_standard
from onnxq.pipeline import Context, Pass, Stage

Role = tuple[object, ...]
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_AXES = {("Conv", 1): 0, ("ConvTranspose", 1): 1, ("MatMul", 1): -1, ("MatMul", 0): -2}
_BIASES = {("Conv", 2), ("ConvTranspose", 2), ("Gemm", 2)}
_OPERANDS = frozenset({
    "Add", "Sub", "Mul", "Div", "Concat", "Where", "Max", "Min", "Pow", "PRelu", "Gather",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class UnshareWeights(Pass):
    """Give each use of a shared constant that is to be quantized its own way a copy.

    What it does:
        A floating-point constant may be the weight of two nodes, or the weight of one and the
        operand of another. Its uses are sorted by role:

        - a weight, by the axis of the output channels, along which its scales run;
        - a bias, whose scale is that of the node's input times that of its weight: each of its
          own;
        - an operand beside an activation, and a table that is looked up (Gather);
        - anything else, such as the bounds of a Clip, which is not quantized.

        Uses in one role keep sharing; the first role keeps the constant, and every other one gets
        a copy under a derived name. With ``every`` each use of a weight gets its own copy, which
        passes that change weights node by node need.

    Why:
        A tensor has one scale and one zero point, so that a node could only be quantized as the
        other one needs it, or not at all.

    Example:
        ``Conv(x, w)  ConvTranspose(z, w)``  becomes  ``Conv(x, w)  ConvTranspose(z, w__up)``.

    When it declines:
        Never. Constants that are not floating point are left alone: they are not quantized.

    Numerics:
        Exact: values are copied. The file grows by the copies until they are integers.

    Source:
        The scale of a bias: Jacob et al., Quantization and Training (2018), section 2.4.

    Attributes:
        every: whether weights in the same role are copied too.
    """

    name: ClassVar[str] = "unshare-weights"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 0.0

    every: bool = False

    def run(self, model: Model, ctx: Context) -> None:
        """Copy shared constants, role by role."""
        scope = Scope(model)
        seen: dict[int, gs.Constant] = {}
        for node in scope.sites():
            for tensor in node.inputs:
                if isinstance(tensor, gs.Constant) and len(tensor.outputs) > 1:
                    seen.setdefault(id(tensor), tensor)
        for tensor in seen.values():
            self._split(scope, tensor)

    def _split(self, scope: Scope, tensor: gs.Constant) -> None:
        if getattr(tensor.dtype, "kind", "f") != "f" or tensor.dtype is None:
            return
        owners: dict[Role, gs.Tensor] = {("float",): tensor} if scope.is_output(tensor) else {}
        for node, index in consumers(tensor):
            role = _role(node, index)
            if self.every and role[0] == "weight":
                role = ("weight", id(node), index)
            owner = owners.get(role)
            if owner is None:
                owner = tensor if not owners else self._copy(scope, tensor, node)
                owners[role] = owner
            if owner is not tensor:
                replace_input(node, index, owner)

    @staticmethod
    def _copy(scope: Scope, tensor: gs.Constant, node: gs.Node) -> gs.Constant:
        name = scope.model.unique_name(f"{tensor.name}__{node.name or node.op}")
        return gs.Constant(name, tensor.values)


def _role(node: gs.Node, index: int) -> Role:
    """How a constant at input *index* of *node* would be quantized."""
    if not is_standard(node):
        return ("float",)
    if (node.op, index) in _BIASES:
        return ("bias", id(node))
    if (node.op, index) in _AXES:
        return ("weight", _AXES[node.op, index])
    if node.op == "Gemm":
        transposed = bool(attribute(node, "transB" if index else "transA", 0))
        return ("weight", -1 if bool(index) != transposed else -2)
    if node.op in _RECURRENT:
        return ("recurrent", index)
    if node.op in _OPERANDS:
        return ("operand", "table" if node.op == "Gather" else "beside")
    return ("float",)
