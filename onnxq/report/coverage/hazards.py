"""Groups that do become integer kernels, and then compute something else than the graph says.

ONNX Runtime fuses them without a look at these points; what the kernel makes of them was seen by
running each with and without the fusion (1.31).
"""

from __future__ import annotations

from onnxq.report.coverage.conversions import Conversion
from onnxq.report.coverage.number_rules import bias_scale_off
from onnxq.report.coverage.qdq_groups import QdqGroup
from onnxq.report.coverage.rules import Rule

_STRICT = ("Conv", "Gemm", "MatMul")


def _activation_scales(g: QdqGroup) -> str:
    found = [c for c in (g.given(0), *g.quantizers) if c is not None and c.scales > 1]
    many = g.op in ("Conv", "MatMul") and found
    return "an activation has a scale for each channel: the kernel stops when run" if many else ""


def _weight_axis(g: QdqGroup) -> str:
    w = g.given(1) if g.op in _STRICT else None
    if w is None or w.scales == 1 or w.block:
        return ""
    rank = _rank(w, g)
    right = {"Conv": 0, "MatMul": rank - 1, "Gemm": 0 if g.attribute("transB", 0) else 1}[g.op]
    if w.axis % rank == right:
        return ""
    return f"its weight has scales along axis {w.axis}, which the kernel takes for another axis"


def _rank(w: Conversion, g: QdqGroup) -> int:
    value = g.value(w.node.input[0])
    return 2 if value is None else value.ndim


def _blocks(g: QdqGroup) -> str:
    w = g.given(1) if g.op == "Conv" else None
    blocks = w is not None and w.block > 0
    return "its weight has scales by block: the kernel stops when run" if blocks else ""


def _gemm_bias(g: QdqGroup) -> str:
    found = bias_scale_off(g) if g.op == "Gemm" else None
    if found is None:
        return ""
    return f"the scale of its bias is {found:.3g} times s_x · s_w, which the kernel takes for 1"


#: What to look for in groups that fused.
HAZARDS = (
    Rule("activation-scales", _activation_scales, "one scale for the whole activation"),
    Rule("weight-axis", _weight_axis, "scales along the axis of the output channels"),
    Rule("weight-blocks", _blocks, "one scale for each output channel"),
    Rule("gemm-bias-scale", _gemm_bias, "give the bias the scale s_x · s_w"),
)
