"""Whether a model is quantized already."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model
from onnxq.passes.canonical._computed import Computed
from onnxq.passes.canonical._quant_nodes import quant_nodes
from onnxq.passes.canonical._rounding_chain import rounding_chain

_MARKS = (
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulNBits",
    "GatherBlockQuantized",
)  # fmt: skip
_PAIR = ("QuantizeLinear", "DequantizeLinear")


def refuse_quantized(model: Model) -> None:
    """Stop where *model* holds quantized operators: quantizing twice only loses accuracy.

    Fake quantization from training is one, as arithmetic too.

    Raises:
        UnsupportedModelError: it does; names the first node and how many there are.
    """
    found = [
        n
        for n in model.nodes()
        if n.op in _MARKS or n.op.startswith("QLinear") or n.op.endswith("Integer")
    ]
    hint = "quantize the float model that it was made from"
    if any(n.op in _PAIR for n in found):
        hint = f"'onnxq quantize --keep-scales' keeps what training has chosen; or {hint}"
    if found:
        raise UnsupportedModelError(
            f"the model is quantized already: '{found[0].name}' is a {found[0].op}",
            why=f"{len(found)} of its nodes are quantization operators",
            hint=hint,
        )
    fake = [*quant_nodes(model), *_arithmetic(model)]
    if fake:
        raise UnsupportedModelError(
            f"the model has fake quantization from training: at '{fake[0].name}' ({fake[0].op})",
            why=f"{len(fake)} such places; a second quantization would round what is rounded",
            hint="'onnxq quantize --keep-scales' keeps what training has chosen",
        )


def _arithmetic(model: Model) -> list[gs.Node]:
    """Round nodes that scales, their inverses and clamps make a fake quantization."""
    rounds = [n for n in model.nodes() if n.op in ("Round", "Floor") and n.outputs]
    if not rounds:
        return []
    outputs = {id(t) for g in model.graphs() for t in g.outputs}
    known = Computed(model)
    return [n for n in rounds if not isinstance(rounding_chain(n, known.value, outputs), str)]
