"""Where the time goes: operators of two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxq.runtime.profile import NodeTime

_SAME = {
    "QGemm": "Gemm", "FusedGemm": "Gemm", "FusedMatMul": "MatMul", "MatMulIntegerToFloat": "MatMul",
    "MatMulInteger": "MatMul", "DynamicQuantizeMatMul": "MatMul", "MatMulNBits": "MatMul",
    "FusedConv": "Conv", "ConvInteger": "Conv", "NhwcFusedConv": "Conv", "NhwcMaxPool": "MaxPool",
    "ReorderInput": "layout", "ReorderOutput": "layout",
}  # fmt: skip
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


@dataclass(frozen=True)
class OperatorTime:
    """An operator in both models, whatever its kernels are called.

    Attributes:
        operator: the float operator; ``Q and DQ`` for conversions, ``layout`` for reordering.
        first_ms, second_ms: milliseconds a run, of all of its nodes.
        first_nodes, second_nodes: how many nodes.
    """

    operator: str
    first_ms: float
    second_ms: float
    first_nodes: int
    second_nodes: int

    @property
    def rise_ms(self) -> float:
        """How much longer the second one takes."""
        return self.second_ms - self.first_ms


def family(operator: str) -> str:
    """The float operator that the kernel *operator* stands for."""
    if operator in _CONVERSIONS:
        return "Q and DQ"
    return _SAME.get(operator, operator.removeprefix("QLinear"))


def side_by_side(first: Sequence[NodeTime], second: Sequence[NodeTime]) -> list[OperatorTime]:
    """Operators of both profiles, those that take most first."""
    sums: dict[str, list[float]] = {}
    for place, nodes in enumerate((first, second)):
        for node in nodes:
            total = sums.setdefault(family(node.operator), [0.0, 0.0, 0.0, 0.0])
            total[place] += 1e3 * node.seconds
            total[2 + place] += 1
    rows = [OperatorTime(n, t[0], t[1], int(t[2]), int(t[3])) for n, t in sums.items()]
    return sorted(rows, key=lambda r: -max(r.first_ms, r.second_ms))


def why_slower(rows: Sequence[OperatorTime]) -> str:
    """The operators whose time rose most, as text; "" where none rose."""
    risen = sorted((r for r in rows if r.rise_ms > 0), key=lambda r: -r.rise_ms)
    parts = [
        f"{r.operator} {r.first_ms:.3g} → {r.second_ms:.3g} ms"
        if r.first_nodes
        else f"{r.operator} {r.second_ms:.3g} ms that float does not need"
        for r in risen[:3]
    ]
    return ", ".join(parts)
