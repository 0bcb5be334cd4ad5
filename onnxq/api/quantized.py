"""Whether a model is quantized already."""

from __future__ import annotations

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model

_MARKS = (
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulNBits",
    "GatherBlockQuantized",
)  # fmt: skip


def refuse_quantized(model: Model) -> None:
    """Stop where *model* holds quantized operators: quantizing twice only loses accuracy.

    Raises:
        UnsupportedModelError: it does; names the first node and how many there are.
    """
    found = [
        n
        for n in model.nodes()
        if n.op in _MARKS or n.op.startswith("QLinear") or n.op.endswith("Integer")
    ]
    if found:
        raise UnsupportedModelError(
            f"the model is quantized already: '{found[0].name}' is a {found[0].op}",
            why=f"{len(found)} of its nodes are quantization operators",
            hint="quantize the float model that it was made from",
        )
