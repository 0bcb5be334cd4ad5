"""Rules on how a group is built: its operator, its inputs and what reads its output.

Each function returns what is wrong with a group, "" where nothing is.
"""

from __future__ import annotations

from onnxq.report.coverage.qdq_groups import QdqGroup
from onnxq.report.coverage.redundant import why_kept

MOVES = frozenset({
    "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "MaxPool", "ReduceMax",
    "ReduceMin", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
})  # fmt: skip
_ARITHMETIC = frozenset({
    "Add", "AveragePool", "Concat", "Conv", "Gemm", "GlobalAveragePool", "LeakyRelu", "MatMul",
    "Mul", "Sigmoid", "Softmax", "Where",
})  # fmt: skip


def operator(g: QdqGroup) -> str:
    """Operators without an integer kernel."""
    there = g.op in _ARITHMETIC or g.op in MOVES or g.op == "ArgMax"
    return "" if there else f"there is no integer kernel for {g.op} on the CPU"


def opset(g: QdqGroup) -> str:
    """Operators whose kernel came with a later opset."""
    old = g.op == "MaxPool" and g.opset < 12
    return f"MaxPool runs on bytes from opset 12, the model has {g.opset}" if old else ""


def mode(g: QdqGroup) -> str:
    """Resize in other modes than nearest."""
    mode = g.attribute("mode", b"nearest")
    other = g.op == "Resize" and mode != b"nearest"
    return f"bytes are resized in mode nearest only, not {mode.decode()}" if other else ""


def indices(g: QdqGroup) -> str:
    """A second output that is asked for."""
    second = g.op == "MaxPool" and len(g.node.output) > 1 and bool(g.node.output[1])
    return f"its second output '{g.node.output[1]}' is asked for" if second else ""


def made_gemm(g: QdqGroup) -> str:
    """MatMul and Add that become a Gemm with a float bias."""
    if g.op != "MatMul" or g.became not in ("Gemm", "FusedGemm"):
        return ""
    return "ONNX Runtime first makes a Gemm of it and the Add behind it, and that bias is in float"


def factors(g: QdqGroup) -> str:
    """Gemm with factors and a bias."""
    if g.op != "Gemm" or g.operand(2) is None:
        return ""
    factors = g.attribute("alpha", 1.0), g.attribute("beta", 1.0)
    return "" if factors == (1.0, 1.0) else "its alpha or beta is not 1, and it has a bias"


def output_float(g: QdqGroup) -> str:
    """Outputs that are not quantized where the kernel has no float output."""
    if g.op in ("Gemm", "MatMul", "ArgMax") or all(r.quantizers for r in g.results):
        return ""
    return f"its output '{next(r.name for r in g.results if not r.quantizers)}' is not quantized"


def model_output(g: QdqGroup) -> str:
    """Outputs that leave the model before they are quantized."""
    name = next((r.name for r in g.results if r.quantizers and r.model_output), "")
    return f"its float output '{name}' is an output of the model too" if name else ""


def read_in_float(g: QdqGroup) -> str:
    """Outputs with readers besides the QuantizeLinear."""
    others = [o for r in g.results if r.quantizers for o in r.others]
    return f"its output is also read in float, by {_few(others)}" if others else ""


def quantized_twice(g: QdqGroup) -> str:
    """Outputs that several QuantizeLinear nodes read."""
    twice = next((r for r in g.results if len(r.quantizers) > 1), None)
    return "" if twice is None else f"its output is quantized {len(twice.quantizers)} times"


def clamp(g: QdqGroup) -> str:
    """Relu or Clip whose limits the codes exceed."""
    for result in g.results:
        for clamp in result.clamps:
            if why := why_kept(clamp, result.quantizers[0], g.reader):
                return f"{clamp.op_type} '{clamp.name or clamp.output[0]}' behind it stays: {why}"
    return ""


def input_float(g: QdqGroup) -> str:
    """Inputs in float beside quantized ones."""
    for operand in g.operands:
        stored = operand.constant and g.op in ("Conv", "Gemm")
        bias = operand.index == 2 and g.op != "Concat"
        if operand.conversion is not None or stored or (bias and g.op != "Where"):
            continue
        if g.op == "Where" and operand.constant:
            value = g.value(operand.name)
            if value is not None and value.size == 1:
                continue
        kind = "a constant" if operand.constant else "computed"
        return f"its input {operand.index} '{operand.name}' ({kind}) is in float"
    return ""


def weight_float(g: QdqGroup) -> str:
    """Float weights that ONNX Runtime does not quantize itself."""
    weight, bias = g.operand(1), g.operand(2)
    if g.op not in ("Conv", "Gemm") or weight is None or weight.conversion or not weight.constant:
        return ""
    if not g.quantizers:
        return f"its weight '{weight.name}' is in float, and its output is not quantized"
    if bias is not None and bias.conversion is not None:
        return f"its weight '{weight.name}' is in float, beside a bias that is quantized already"
    return ""


def bias_float(g: QdqGroup) -> str:
    """Float biases that ONNX Runtime does not quantize itself."""
    bias = g.operand(2)
    if g.op not in ("Conv", "Gemm") or bias is None or bias.conversion is not None:
        return ""
    if not bias.constant:
        return f"its bias '{bias.name}' is computed in float"
    none = g.op == "Gemm" and not g.quantizers
    return f"its bias '{bias.name}' is in float, and its output is not quantized" if none else ""


def _few(names: list[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
