"""Operators on codes in place of DequantizeLinear, operator, QuantizeLinear.

Each function here rewrites one node and what surrounds it, or raises `Left` and changes nothing.
Sources: ONNX operators QLinearConv-10, QLinearMatMul-10, MatMulInteger-10; ONNX Runtime's
ContribOperators.md for those of com.microsoft.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import (
    Model,
    attribute,
    constant_value,
    consumers,
    insert_node,
    remove_node,
)
from onnxq.passes.emit._coded import Coded, Written, read, stored, written
from onnxq.pipeline.eligibility import clamp

MICROSOFT = "com.microsoft"
_CLIP_OF_BYTES = 12


class Left(Exception):  # noqa: N818 (no error: a node that stays)
    """Why a node is left between DequantizeLinear and QuantizeLinear."""


class Rewriter:
    """Rewrites nodes of *model*; *microsoft*: whether ONNX Runtime's own operators may be used."""

    def __init__(self, model: Model, microsoft: bool) -> None:
        self.model, self.microsoft = model, microsoft

    def operand(self, node: gs.Node, index: int) -> Coded:
        """The bytes on one scale that input *index* of *node* stands for."""
        found = read(self.model, node.inputs[index])
        name = node.inputs[index].name
        if found is None:
            raise Left(f"'{name}' is in float")
        if found.axis is not None or found.kind not in ("int8", "uint8"):
            what = found.kind if found.axis is None else "on several scales"
            raise Left(f"the codes of '{name}' are {what}: operators on codes read bytes")
        return found

    def weight(self, node: gs.Node, index: int, axes: Sequence[int]) -> Coded:
        """The constant input *index* of *node* in bytes, its scales along one of *axes*."""
        found = stored(self.model, read(self.model, node.inputs[index]))
        if found is None:
            raise Left(f"its weight '{node.inputs[index].name}' is no constant of at most 8 bits")
        if found.axis is not None and found.axis not in axes:
            raise Left(f"the scales of its weight lie along axis {found.axis}")
        return found

    def result(self, node: gs.Node, kind: str) -> Written:
        """How the only output of *node* becomes codes of the type *kind*."""
        found = self.maybe_result(node, kind)
        if found is None:
            raise Left("its result is not quantized to bytes, or read in float as well")
        return found

    def maybe_result(self, node: gs.Node, kind: str) -> Written | None:
        """As ``result``; None where the output stays in float."""
        found = written(self.model, node.outputs[0])
        if found is None:
            return None
        if found.coded.kind != kind:
            raise Left(f"it reads {kind} and writes {found.coded.kind}")
        if found.clips and self.model.opset < _CLIP_OF_BYTES:
            raise Left(f"Clip of bytes needs opset {_CLIP_OF_BYTES}")
        return found

    def bias(self, node: gs.Node, index: int, x: Coded, weight: Coded) -> gs.Tensor | None:
        """The bias of *node* as int32 in units of s_x · s_w; None where there is none."""
        if len(node.inputs) <= index or node.inputs[index].is_empty():
            return None
        found = read(self.model, node.inputs[index])
        codes = None if found is None else constant_value(found.codes)
        if found is None or codes is None:
            raise Left("its bias is in float")
        unit = x.scales.astype(np.float64) * weight.scales
        ratio = np.asarray(found.scales.astype(np.float64) / unit)
        times = np.rint(ratio)
        wide = codes.reshape(-1).astype(np.int64) * times.astype(np.int64)
        if np.any(np.abs(ratio - times) > 1e-5 * times) or np.any(found.zeros.astype(np.int64)):
            raise Left("its bias is on another scale than input times weight")
        if wide.size and np.abs(wide).max() >= 1 << 31:
            raise Left("its bias leaves 32 bits")
        if codes.dtype == np.int32 and codes.ndim == 1 and np.all(times == 1):
            return found.codes
        return self.constant(f"{found.codes.name}__int32", wide.astype(np.int32))

    def constant(self, name: str, value: NDArray[Any]) -> gs.Constant:
        """A new constant."""
        return gs.Constant(self.model.unique_name(name), np.array(value, order="C"))

    def variable(self, name: str, dtype: Any) -> gs.Variable:
        """A new tensor of unknown shape."""
        return gs.Variable(self.model.unique_name(name), np.dtype(dtype))

    def place(
        self, node: gs.Node, op: str, inputs: Sequence[gs.Tensor], to: Written,
        attrs: Mapping[str, Any] | None = None, *, microsoft: bool = False,
    ) -> None:  # fmt: skip
        """Put *op* where *node* is, down to its QuantizeLinear."""
        codes, kind = to.coded.codes, to.coded.kind
        for old in (node, *to.clamps, to.quantizer):
            remove_node(self.model, old)
        out = self.variable(f"{codes.name}__unclipped", kind) if to.clips else codes
        insert_node(
            self.model, op, inputs, [out], attrs, name=node.name, like=node,
            domain=MICROSOFT if microsoft else None,
        )  # fmt: skip
        if to.clips:
            self.clip(out, codes, (to.low, to.high), to.clamps[0])

    def clip(
        self, source: gs.Tensor, codes: gs.Tensor, limits: tuple[int, int], like: gs.Node
    ) -> None:
        """Clip the codes *source* to *limits*."""
        ends = [self.constant(f"{codes.name}__{k}", np.array(v, source.dtype))
                for k, v in zip(("low", "high"), limits, strict=True)]  # fmt: skip
        insert_node(self.model, "Clip", [source, *ends], [codes], name=like.name, like=like)

    def hand_on(self, tensor: gs.Tensor, grid: Coded) -> gs.Variable:
        """New codes on the grid of *grid*, which *tensor* is dequantized from from now on."""
        codes = self.variable(f"{tensor.name}__q", grid.kind)
        above = tensor.inputs[0]
        slot = next(i for i, t in enumerate(above.outputs) if t is tensor)
        above.outputs[slot] = gs.Variable(self.model.unique_name(f"{tensor.name}__old"))
        insert_node(self.model, "DequantizeLinear", [codes, grid.scale, grid.zero], [tensor],
                    name=self.model.unique_name(f"{tensor.name}__dequantize"))  # fmt: skip
        return codes

    def need_microsoft(self, node: gs.Node) -> None:
        """Raise where operators of ONNX Runtime alone may not be used."""
        if not self.microsoft:
            raise Left(f"ONNX has no operator on codes for {node.op}; com.microsoft has one")


def conv(to: Rewriter, node: gs.Node) -> None:
    """QLinearConv."""
    x, weight = to.operand(node, 0), to.weight(node, 1, (0,))
    check_kinds(x, weight)
    y, bias = to.result(node, x.kind), to.bias(node, 2, x, weight)
    inputs = [*x.parts, *weight.parts, y.coded.scale, y.coded.zero]
    to.place(node, "QLinearConv", [*inputs, *([] if bias is None else [bias])], y, node.attrs)


def check_kinds(x: Coded, weight: Coded) -> None:
    """Raise where the kernels do not multiply codes of these types."""
    if x.kind == "int8" and weight.kind == "uint8":
        raise Left("its activations are int8 and its weights uint8: there is no such kernel")


def same_operator(op: str) -> Callable[[Rewriter, gs.Node], None]:
    """The operator *op* of com.microsoft, which reads one or two operands."""

    def rewrite(to: Rewriter, node: gs.Node) -> None:
        to.need_microsoft(node)
        count = 2 if node.op in ("Add", "Mul") else 1
        operands = [to.operand(node, i) for i in range(count)]
        if any(o.kind != operands[0].kind for o in operands):
            raise Left(f"it reads {operands[0].kind} and {operands[1].kind}")
        y, attrs = to.result(node, operands[0].kind), dict(node.attrs)
        if any(d != 1 for d in attrs.pop("dilations", [])):
            raise Left("its windows have holes")
        if node.op == "Softmax":
            attrs.setdefault("axis", -1 if to.model.opset >= 13 else 1)
            attrs["opset"] = to.model.opset
        inputs = [t for o in operands for t in o.parts]
        to.place(node, op, [*inputs, y.coded.scale, y.coded.zero], y, attrs, microsoft=True)

    return rewrite


def concat(to: Rewriter, node: gs.Node) -> None:
    """Concat of codes where all have one grid; QLinearConcat elsewhere."""
    parts = [to.operand(node, i) for i in range(len(node.inputs))]
    y = to.result(node, parts[0].kind)
    if all(p.same_grid(y.coded) for p in parts):
        to.place(node, "Concat", [p.codes for p in parts], y, node.attrs)
        return
    to.need_microsoft(node)
    if any(p.kind != y.coded.kind for p in parts):
        raise Left("its inputs are codes of different types")
    inputs = [y.coded.scale, y.coded.zero, *(t for p in parts for t in p.parts)]
    to.place(node, "QLinearConcat", inputs, y, node.attrs, microsoft=True)


def move(to: Rewriter, node: gs.Node) -> None:
    """The operator itself, on codes."""
    x = to.operand(node, 0)
    results = [written(to.model, t) for t in node.outputs]
    inputs = [x.codes, *node.inputs[1:]]
    if node.op == "Pad" and attribute(node, "mode", "constant") == "constant":
        inputs = [*inputs, *([gs.Variable.empty()] * (3 - len(inputs)))]
        filled = not inputs[2].is_empty()
        value = constant_value(inputs[2]) if filled else np.zeros((), np.float32)
        if value is None or value.size != 1:
            raise Left("it pads with a computed value")
        code = np.array(x.code(float(value.reshape(()))), x.kind)
        inputs[2] = to.constant(f"{node.name}__code", code)
    codes = []
    for tensor, y in zip(list(node.outputs), results, strict=True):
        if y is not None and not y.clamps and y.coded.same_grid(x):
            remove_node(to.model, y.quantizer)
            codes.append(y.coded.codes)
        else:
            codes.append(to.hand_on(tensor, x))
    remove_node(to.model, node)
    insert_node(to.model, node.op, inputs, codes, node.attrs, name=node.name, like=node)


def clamped(to: Rewriter, node: gs.Node) -> None:
    """Relu and Clip: a Clip of codes."""
    x, limits = to.operand(node, 0), clamp(node)
    if limits is None:
        raise Left("its limits are computed")
    if to.model.opset < _CLIP_OF_BYTES:
        raise Left(f"Clip of bytes needs opset {_CLIP_OF_BYTES}")
    y = written(to.model, node.outputs[0], *limits)
    if y is not None and y.coded.same_grid(x):
        codes, ends, gone = y.coded.codes, (y.low, y.high), (*y.clamps, y.quantizer)
    elif x.clips_exactly(*limits):
        ends = (x.code(limits[0]), x.code(limits[1]))
        codes, gone = to.hand_on(node.outputs[0], x), ()
    else:
        raise Left("its limits lie between codes, and its result is not quantized as its input is")
    for old in (node, *gone):
        remove_node(to.model, old)
    to.clip(x.codes, codes, ends, node)


def reads_codes(node: gs.Node) -> bool:
    """Whether an activation that *node* reads was dequantized."""
    return any(
        above.op == "DequantizeLinear" and constant_value(above.inputs[0]) is None
        for tensor in node.inputs
        for above in tensor.inputs
    )


def sole_user(model: Model, tensor: gs.Tensor) -> gs.Node | None:
    """The only node that reads *tensor*, which is no output."""
    users = consumers(tensor)
    return users[0][0] if len(users) == 1 and not model.is_output(tensor) else None
