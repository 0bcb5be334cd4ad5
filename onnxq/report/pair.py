"""A float model and a quantized one, made ready to be compared; neither is altered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from onnxq.errors import UserError
from onnxq.graph import Model
from onnxq.passes.canonical.name_nodes import NameNodes
from onnxq.passes.canonical.raise_opset import RaiseOpset
from onnxq.pipeline import Context
from onnxq.report.qdq_form import qdq_form
from onnxq.report.stored_form import stores_weights
from onnxq.targets import get_target

_INTEGER = frozenset({
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger",
    "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QGemm", "QAttention",
    "MatMulNBits",
})  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two models that belong together.

    Attributes:
        original: the float model, every node with a name of its own.
        quantized: the quantized model likewise, with the float model's names of inputs and outputs.
        qdq: *quantized* in QDQ form.

    *original* and *qdq* are of one opset, where the older one could be raised.
    """

    original: Model
    quantized: Model
    qdq: Model


def make_pair(original: Model, quantized: Model) -> Pair:
    """Name what has no name, and put *quantized* into QDQ form.

    Raises:
        UserError: nothing is quantized in *quantized*, the two are swapped, or their inputs or
            outputs differ.
        UnsupportedModelError: an operator cannot be put into QDQ form.
    """
    if not is_quantized(quantized):
        if is_quantized(original):
            raise UserError(
                "the first model is quantized and the second is not",
                hint="swap them: the float model comes first",
            )
        raise UserError(
            "nothing is quantized in the second model",
            why="it has no QuantizeLinear, DequantizeLinear or operator on integer codes",
            hint="give the quantized model as the second argument; for a model that is quantized "
            "inside a local function or in another format, convert it to QDQ first",
        )
    left, right = _named(original), _named(quantized)
    for kind, ours, theirs in (
        ("input", left.graph.inputs, right.graph.inputs),
        ("output", left.graph.outputs, right.graph.outputs),
    ):
        for mine, other in _paired(kind, ours, theirs):
            if mine.name != other.name:
                _rename(right, other, mine.name)
    form = qdq_form(right)
    _level(left, form)
    return Pair(left, right, form)


def _level(original: Model, qdq: Model) -> None:
    """Raise the opset of the older of two models to that of the other; exact."""
    older, opset = (original, qdq.opset) if original.opset < qdq.opset else (qdq, original.opset)
    if older.opset < opset:
        RaiseOpset(opset=opset).run(older, Context(target=get_target("generic")))


def is_quantized(model: Model) -> bool:
    """Whether a node of *model* makes, reads or computes on codes."""
    marks = (n.op in _INTEGER or n.op.startswith("QLinear") for n in model.nodes())
    return any(marks) or stores_weights(model)


def _named(model: Model) -> Model:
    found = model.clone()
    NameNodes().run(found, Context(target=get_target("generic")))
    return found


def _paired(
    kind: str, ours: Sequence[gs.Tensor], theirs: Sequence[gs.Tensor]
) -> Iterator[tuple[gs.Tensor, gs.Tensor]]:
    """Inputs or outputs by name; where no name is known, by position."""
    by_name = {t.name: t for t in theirs}
    known = [t for t in ours if t.name in by_name]
    if len(known) == len(ours) or (known and kind == "output"):
        missing = [t.name for t in ours if t.name not in by_name]
        if missing:
            _foreign(f"{kind} '{missing[0]}' of the float model is not in the quantized one")
        for tensor in ours:
            _check(kind, tensor, by_name[tensor.name])
            yield tensor, by_name[tensor.name]
        return
    if known or len(ours) != len(theirs):
        missing = [t.name for t in ours if t.name not in by_name]
        # constants may have been inputs of old models, and inputs that nothing reads are dropped
        if kind == "input" and known and {t.name for t in theirs} <= {t.name for t in ours}:
            yield from ((t, by_name[t.name]) for t in known)
            return
        _foreign(f"{kind} '{missing[0]}' of the float model is not in the quantized one")
    for mine, other in zip(ours, theirs, strict=True):
        _check(kind, mine, other)
        yield mine, other


def _check(kind: str, mine: gs.Tensor, other: gs.Tensor) -> None:
    shapes = mine.shape, other.shape
    if shapes[0] is None or shapes[1] is None:
        return
    fixed = [
        (a, b)
        for a, b in zip(*shapes, strict=False)
        if isinstance(a, int) and isinstance(b, int) and a > 0 and b > 0
    ]
    if len(shapes[0]) != len(shapes[1]) or any(a != b for a, b in fixed):
        _foreign(
            f"{kind} '{mine.name}' has the shape {list(shapes[0])} in the float model and "
            f"{list(shapes[1])} in the quantized one"
        )


def _foreign(message: str) -> None:
    raise UserError(message, hint="give the model that the quantized one was made from")


def _rename(model: Model, tensor: gs.Tensor, name: str) -> None:
    """Give an input or output of *model* another *name*; who has that name already gives way."""
    other = model.tensors().get(name)
    if other is not None and other is not tensor:
        other.name = model.unique_name(f"{name}__other")
    tensor.name = name
