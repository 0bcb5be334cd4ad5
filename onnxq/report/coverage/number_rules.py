"""Rules on the numbers of a group: types, zero points, scales and the bias.

Each function returns what is wrong with a group, "" where nothing is.
"""

from __future__ import annotations

import numpy as np

from onnxq.report.coverage.build_rules import MOVES
from onnxq.report.coverage.conversions import BYTES, INT8, INT32, UINT8, WORDS, type_text
from onnxq.report.coverage.qdq_groups import QdqGroup

_BYTES_ONLY = frozenset({"DepthToSpace", "MaxPool", "ReduceMax", "ReduceMin", "Resize"})


def bits(g: QdqGroup) -> str:
    """Codes of more or fewer than 8 bits."""
    fine: tuple[int, ...] = BYTES
    if g.op in MOVES and g.op not in _BYTES_ONLY:
        fine += WORDS
    data = [o.conversion for o in g.operands if o.index < 2 or g.op not in ("Conv", "Gemm")]
    for conversion in (*data, *g.quantizers):
        if conversion is not None and conversion.dtype not in (*fine, 0):
            return f"'{conversion.node.input[0]}' is {type_text(conversion.dtype)}, not 8 bit"
    return ""


def half(g: QdqGroup) -> str:
    """Scales in half precision."""
    found = [c.scale for c in (*g.sources, *g.quantizers) if c.scale is not None]
    half = next((s for s in found if s.dtype != np.float32), None)
    return "" if half is None else f"its scales are {half.dtype}, and the kernels are for float32"


def int8(g: QdqGroup) -> str:
    """Activations that stay int8 on x86."""
    x = g.given(0)
    if g.op not in ("Conv", "MatMul") or x is None or x.runs != INT8 or g.reader.int8:
        return ""
    why = "they come into the model"
    if x.readers > 1:
        why = f"they are read {x.readers} times"
    elif x.scales > 1:
        why = "they have a scale for each channel"
    return f"its input is int8; on x86 ONNX Runtime turns codes into uint8, but not where {why}"


def types(g: QdqGroup) -> str:
    """Activations of unlike types."""
    activations = [g.given(0)] if g.op in ("Conv", "Gemm", "MatMul") else g.sources
    types = [c.runs for c in (*activations, *g.quantizers) if c is not None and c.runs in BYTES]
    if g.op == "ArgMax" or len(set(types)) < 2 or int8(g):
        return ""
    shown = " and ".join(type_text(t) for t in dict.fromkeys(types))
    return f"its inputs and its output have the types {shown}, as they run"


def weight_type(g: QdqGroup) -> str:
    """Weights of uint8 beside int8 activations."""
    x, w = g.given(0), g.given(1)
    if g.op not in ("Conv", "MatMul") or x is None or w is None:
        return ""
    wrong = x.runs == INT8 and w.dtype == UINT8
    return "its weight is uint8 beside int8 activations" if wrong else ""


def zero_points(g: QdqGroup) -> str:
    """Zero points that are left out where they must be written down."""
    needed = [g.given(0), g.given(1)] if g.op == "Gemm" else []
    if g.op in MOVES:
        needed = [*g.sources, *g.quantizers]
    bare = next((c for c in needed if c is not None and not c.has_zero), None)
    return "" if bare is None else f"{_named(bare.node)} has no zero point written down"


def parameters(g: QdqGroup) -> str:
    """Moves that would have to change scales."""
    x = g.given(0)
    if g.op not in MOVES or x is None or all(x.same(q) for q in g.quantizers):
        return ""
    return "its input and its output have different scales or zero points"


def scale_computed(g: QdqGroup) -> str:
    """Scales that are no constants where they must be."""
    if g.op in MOVES:
        found = [*g.sources, *g.quantizers]
    elif g.op == "Conv" and g.given(2) is not None:
        found = g.sources  # the bias is held against the scales
    else:
        return ""
    bare = next((c for c in found if c.scale is None), None)
    return "" if bare is None else f"the scale of {_named(bare.node)} is computed in the run"


def per_channel(g: QdqGroup) -> str:
    """Activations with a scale for each channel."""
    x = g.given(0)
    judged = g.op == "Gemm" or (g.op == "Conv" and g.operand(2) is not None)
    many = judged and x is not None and x.scales > 1
    return "its input has a scale for each channel" if many else ""


def bias_type(g: QdqGroup) -> str:
    """Biases of another type than int32."""
    bias = g.given(2) if g.op in ("Conv", "Gemm") else None
    wrong = bias is not None and bias.dtype not in (INT32, 0)
    return f"its bias is {type_text(bias.dtype)}, not int32" if wrong and bias else ""


def bias_scale(g: QdqGroup) -> str:
    """Biases at another scale than s_x · s_w."""
    bias = g.given(2)
    wide = g.op == "Conv" and bias is not None and bias.dtype == INT32
    found = bias_scale_off(g) if wide else None
    return "" if found is None else f"the scale of its bias is {found:.3g} times s_x · s_w"


def bias_zero(g: QdqGroup) -> str:
    """Biases with a zero point."""
    bias = g.given(2) if g.op == "Conv" else None
    there = bias is not None and bias.zero is not None and bias.zero.any()
    return "the zero point of its bias is not 0" if there else ""


def bias_scale_off(g: QdqGroup) -> float | None:
    """The scale of the bias as a multiple of s_x·s_w, where it is none of 1; else None."""
    x, w, bias = g.given(0), g.given(1), g.given(2)
    if x is None or w is None or bias is None:
        return None
    if x.scale is None or w.scale is None or bias.scale is None or x.scale.size > 1:
        return None
    product = (x.scale.reshape(-1) * w.scale.reshape(-1)).astype(np.float64)
    own = bias.scale.reshape(-1).astype(np.float64)
    if own.size not in (1, product.size) and product.size != 1:
        return None
    off = np.abs(own - product) > 1e-6 + 0.01 * np.abs(product)
    if not off.any():
        return None
    return float((own / product)[off].flat[0])


def _named(node: object) -> str:
    name = getattr(node, "name", "") or getattr(node, "output", [""])[0]
    return f"{getattr(node, 'op_type', '')} '{name}'"
