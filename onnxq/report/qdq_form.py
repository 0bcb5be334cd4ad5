"""A quantized model in QDQ form, for measuring: operators on codes become Q, DQ and floats.

    QLinearConv(x, …, w, …, y_scale, y_zero, b)  =
        QuantizeLinear(Conv(DequantizeLinear(x), DequantizeLinear(w), DequantizeLinear(b)))

with the bias on the scale of x times that of w. The codes keep their names, so that what is
measured can be read off the model as it was given; the node in the middle keeps the node's name.
Source: ONNX operators QLinearConv-10, QLinearMatMul-10; ONNX Runtime's ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model, constant_value, insert_node, remove_node
from onnxq.passes.canonical.raise_opset import RaiseOpset
from onnxq.pipeline import Context
from onnxq.report.clips import unclip
from onnxq.report.held import unhold
from onnxq.report.moved import unmove
from onnxq.report.stored_form import to_dequantize
from onnxq.targets import get_target

MICROSOFT = "com.microsoft"
_PER_AXIS_OPSET = 13


@dataclass(frozen=True)
class _Form:
    """How an operator on codes lists its inputs.

    Attributes:
        op: the operator on floats.
        real: positions of (codes, scale, zero point) of each operand.
        result: positions of the result's scale and zero point; None where it stays in float.
        bias: position of the bias, which is on the scale of the first operand times the second's.
        real_bias: position of a bias in float that an Add takes in.
        axis: axis of per-channel scales of the second operand.
    """

    op: str
    real: tuple[tuple[int, int, int], ...]
    result: tuple[int, int] | None
    bias: int | None = None
    axis: int = 0
    real_bias: int | None = None


_ONE = ((0, 1, 2),)
_TWO = ((0, 1, 2), (3, 4, 5))
_FORMS: dict[str, _Form] = {
    "QLinearConv": _Form("Conv", _TWO, (6, 7), bias=8),
    "QLinearMatMul": _Form("MatMul", _TWO, (6, 7), axis=-1),
    "QGemm": _Form("Gemm", _TWO, (7, 8), bias=6, axis=1),
    "QLinearAdd": _Form("Add", _TWO, (6, 7)),
    "QLinearMul": _Form("Mul", _TWO, (6, 7)),
    "QLinearSigmoid": _Form("Sigmoid", _ONE, (3, 4)),
    "QLinearLeakyRelu": _Form("LeakyRelu", _ONE, (3, 4)),
    "QLinearAveragePool": _Form("AveragePool", _ONE, (3, 4)),
    "QLinearGlobalAveragePool": _Form("GlobalAveragePool", _ONE, (3, 4)),
    "QLinearSoftmax": _Form("Softmax", _ONE, (3, 4)),
    "QLinearReduceMean": _Form("ReduceMean", _ONE, (3, 4)),
    "MatMulIntegerToFloat": _Form("MatMul", ((0, 2, 4), (1, 3, 5)), None, axis=-1, real_bias=6),
    "QLinearWhere": _Form("Where", ((1, 2, 3), (4, 5, 6)), (7, 8)),
}  # fmt: skip


def qdq_form(model: Model) -> Model:
    """*model* with its operators on codes rewritten, as a copy.

    The result computes the same function up to the rounding of codes: floats are exact where the
    integer kernel is, and codes differ by one at most, at ties. Dynamic quantization
    (``ConvInteger``, ``MatMulInteger``, ``MatMulIntegerToFloat`` of computed scales) stays.

    Raises:
        UnsupportedModelError: an operator is laid out with the channels last, or the model's
            opset cannot be raised to 13, which has DequantizeLinear for each channel.
    """
    found = model.clone()
    to_dequantize(found)
    if not any(_is_integer(node) for node in model.graph.nodes):
        unmove(found)
        unhold(found)
        found.sort()
        return found
    for node in [n for n in found.graph.nodes if _is_integer(n)]:
        _Rewriter(found, node).run()
    unclip(found)
    unmove(found)
    unhold(found)
    found.sort()
    if found.opset < _PER_AXIS_OPSET:
        ctx = Context(target=get_target("generic"))
        RaiseOpset(opset=_PER_AXIS_OPSET).run(found, ctx)
        if found.opset < _PER_AXIS_OPSET:
            reasons = [f"'{d.node}': {d.reason}" for d in ctx.journal.declines]
            raise UnsupportedModelError(
                f"the quantized model is of opset {model.opset} and cannot be raised to 13",
                why="; ".join(reasons),
            )
    return found


def _is_integer(node: gs.Node) -> bool:
    if node.op == "MatMulIntegerToFloat":  # with scales chosen in the run it is dynamic
        return all(constant_value(node.inputs[i]) is not None for i in (2, 3))
    return node.op in _FORMS or (node.op == "QLinearConcat" and node.domain == MICROSOFT)


class _Rewriter:
    """Rewrites one node."""

    def __init__(self, model: Model, node: gs.Node) -> None:
        self.model, self.node = model, node
        self.inputs: list[gs.Tensor] = list(node.inputs)
        self.attrs: dict[str, Any] = dict(node.attrs)

    def run(self) -> None:
        """Put the float operator between DequantizeLinear and QuantizeLinear."""
        node = self.node
        if self.attrs.pop("channels_last", 0):
            raise UnsupportedModelError(
                f"'{node.name}' ({node.op}) has its channels last",
                why="ONNX has no float operator of that layout",
                hint="give the model as the quantizer wrote it, not as a runtime optimized it",
            )
        if node.op == "QLinearConcat":
            form = _Form("Concat", tuple((i, i + 1, i + 2) for i in range(2, len(self.inputs), 3)),
                         (0, 1))  # fmt: skip
        else:
            form = _FORMS[node.op]
        codes, name = node.outputs[0], node.name
        remove_node(self.model, node)
        axis = form.axis
        if node.op == "QGemm" and self.attrs.get("transB", 0):
            axis = 0
        operands = [self._real(*places, axis if i else 1) for i, places in enumerate(form.real)]
        operands += self._bias(form)
        if node.op == "QLinearWhere":
            operands.insert(0, self.inputs[0])
        self._attributes(node, operands)
        result = self._variable(f"{codes.name}__real")
        insert_node(self.model, form.op, operands, [result], self.attrs, name=name, like=node)
        if form.real_bias is not None and self._has(form.real_bias):
            insert_node(self.model, "Add", [result, self._exact(form)], [codes],
                        name=self.model.unique_name(f"{name}__bias"))  # fmt: skip
            return
        scale, zero = form.result or (len(self.inputs), 0)
        if not self._has(scale):  # hands on floats, as a QGemm without a result scale does
            insert_node(self.model, "Identity", [result], [codes],
                        name=self.model.unique_name(f"{name}__result"))  # fmt: skip
            return
        self._node("QuantizeLinear", [result, *self._parameters(scale, zero)], codes, None)

    def _exact(self, form: _Form) -> gs.Tensor:
        """The bias that is given in float, as int32 codes where these stand for it exactly."""
        bias = self.inputs[form.real_bias or 0]
        value = constant_value(bias)
        scales = [constant_value(self.inputs[places[1]]) for places in form.real]
        if value is None or scales[0] is None or scales[1] is None:
            return bias
        unit = np.asarray(scales[0].reshape(()) * scales[1], np.float32)
        codes = np.rint(value.astype(np.float64) / unit)
        if np.abs(codes).max() >= 1 << 31 or np.any(np.float32(codes) * unit != value):
            return bias
        stored = gs.Constant(self.model.unique_name(f"{bias.name}__q"), codes.astype(np.int32))
        scale = gs.Constant(self.model.unique_name(f"{bias.name}__scale"), unit)
        result = self._variable(f"{bias.name}__real")
        self._node("DequantizeLinear", [stored, scale], result, 0 if unit.size > 1 else None)
        return result

    def _attributes(self, node: gs.Node, operands: list[gs.Tensor]) -> None:
        """Attributes as ONNX's own operator of the model's opset has them."""
        if node.op == "QLinearSoftmax":
            self.attrs.setdefault("axis", -1)
            flattens = self.attrs.pop("opset", 13) < 13
            if flattens and self.model.opset >= 13 and self.attrs["axis"] != -1:
                raise UnsupportedModelError(
                    f"'{node.name}' (QLinearSoftmax) normalizes over several dimensions",
                    why="Softmax of opset 13 normalizes over one",
                )
        if node.op == "QLinearReduceMean" and self.model.opset >= 18 and "axes" in self.attrs:
            axes = np.array(self.attrs.pop("axes"), np.int64)
            operands.append(gs.Constant(self.model.unique_name(f"{node.name}__axes"), axes))

    def _has(self, index: int) -> bool:
        return index < len(self.inputs) and not self.inputs[index].is_empty()

    def _variable(self, name: str) -> gs.Variable:
        return gs.Variable(self.model.unique_name(name), np.float32)

    def _parameters(self, scale: int, zero: int) -> list[gs.Tensor]:
        """Scale and zero point as Q and DQ want them: one-element ones as scalars."""
        found = [self.inputs[i] for i in (scale, zero) if self._has(i)]
        return [self._flat(t) for t in found]

    def _flat(self, tensor: gs.Tensor) -> gs.Tensor:
        value = constant_value(tensor)
        if value is None or value.ndim == 0 or (value.ndim == 1 and value.size > 1):
            return tensor
        shaped = value.reshape(()) if value.size == 1 else value.reshape(-1)
        return gs.Constant(self.model.unique_name(f"{tensor.name}__flat"), np.array(shaped))

    def _real(self, codes: int, scale: int, zero: int, axis: int) -> gs.Tensor:
        """The floats that an operand's codes stand for."""
        parameters = self._parameters(scale, zero)
        value = constant_value(parameters[0])
        kept = axis if value is not None and value.size > 1 else None
        if kept is not None and kept < 0:
            stored = constant_value(self.inputs[codes])
            kept += 2 if stored is None else stored.ndim
        result = self._variable(f"{self.inputs[codes].name}__real")
        self._node("DequantizeLinear", [self.inputs[codes], *parameters], result, kept)
        return result

    def _bias(self, form: _Form) -> list[gs.Tensor]:
        """The bias in floats, where there is one."""
        if form.bias is None or not self._has(form.bias):
            return []
        bias = self.inputs[form.bias]
        scales = [constant_value(self.inputs[places[1]]) for places in form.real]
        if scales[0] is None or scales[1] is None:
            raise UnsupportedModelError(
                f"'{self.node.name}' ({self.node.op}) has a bias on a scale that is computed"
            )
        alpha = float(self.attrs.get("alpha", 1.0))  # of QGemm; its bias is not multiplied
        scale: NDArray[np.float32] = np.asarray(
            alpha * scales[0].reshape(-1) * scales[1].reshape(-1), np.float32
        )
        per_channel = scale.size > 1
        stored = constant_value(bias)
        axis = 0 if stored is None else max(stored.ndim - 1, 0)
        constant = gs.Constant(
            self.model.unique_name(f"{bias.name}__scale"),
            scale if per_channel else scale.reshape(()),
        )
        result = self._variable(f"{bias.name}__real")
        self._node("DequantizeLinear", [bias, constant], result, axis if per_channel else None)
        return [result]

    def _node(
        self, op: str, inputs: Sequence[gs.Tensor], output: gs.Tensor, axis: int | None
    ) -> None:
        attrs = {} if axis is None else {"axis": axis}
        name = self.model.unique_name(f"{output.name}__{'q' if op[0] == 'Q' else 'dq'}")
        insert_node(self.model, op, list(inputs), [output], attrs, name=name)
