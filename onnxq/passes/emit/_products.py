"""Matrix products on codes: QLinearMatMul, QGemm, MatMulInteger."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import attribute, insert_node, remove_node
from onnxq.passes.emit._coded import Coded, Written, read, stored
from onnxq.passes.emit._qlinear import MICROSOFT, Left, Rewriter, check_kinds, sole_user


def matmul(to: Rewriter, node: gs.Node) -> None:
    """QLinearMatMul, or MatMulIntegerToFloat where the result stays in float."""
    a = to.operand(node, 0)
    if constant_value_of(to, node, 1) is None:
        b = to.operand(node, 1)
    else:
        rank = len(node.inputs[1].shape) if node.inputs[1].shape else 2
        b = to.weight(node, 1, (rank - 1, -1))
    check_kinds(a, b)
    y = to.maybe_result(node, a.kind)
    if y is not None:
        inputs = [*a.parts, *b.parts, y.coded.scale, y.coded.zero]
        to.place(node, "QLinearMatMul", inputs, y)
        return
    _need_float_result(to)
    add, bias = _added(to, node, a, b)
    last, result = (node, node.outputs[0]) if add is None else (add, add.outputs[0])
    for old in {id(n): n for n in (node, last)}.values():
        remove_node(to.model, old)
    inputs = [a.codes, b.codes, a.scale, b.scale, a.zero, b.zero]
    if bias is not None:
        real = np.float32(bias.values) * (a.scales * b.scales)
        inputs.append(to.constant(f"{bias.name}__real", real))
    insert_node(to.model, "MatMulIntegerToFloat", inputs, [result], name=node.name,
                domain=MICROSOFT, like=node)  # fmt: skip


def constant_value_of(to: Rewriter, node: gs.Node, index: int) -> Coded | None:
    """The constant that input *index* of *node* was dequantized from."""
    return stored(to.model, read(to.model, node.inputs[index]))


def gemm(to: Rewriter, node: gs.Node) -> None:
    """QGemm; without com.microsoft QLinearMatMul, or with a bias a 1×1 QLinearConv."""
    flipped = int(attribute(node, "transB", 0))
    x, weight = to.operand(node, 0), to.weight(node, 1, (0,) if flipped else (1, -1))
    check_kinds(x, weight)
    bias, y = to.bias(node, 2, x, weight), to.maybe_result(node, x.kind)
    alpha = float(attribute(node, "alpha", 1.0))
    if bias is not None and (alpha != 1 or attribute(node, "beta", 1.0) != 1):
        raise Left("its alpha or beta is not 1")
    if to.microsoft:
        _qgemm(to, node, [*x.parts, *weight.parts], bias, y)
        return
    if y is None:
        _need_float_result(to)
    elif alpha != 1 or attribute(node, "transA", 0):
        raise Left("its alpha is not 1, or its input is transposed")
    elif bias is not None:
        _as_conv(to, node, x, weight if flipped else _transposed(to, weight), bias, y)
    else:
        matrix = _transposed(to, weight) if flipped else weight
        inputs = [*x.parts, *matrix.parts, y.coded.scale, y.coded.zero]
        to.place(node, "QLinearMatMul", inputs, y)


def _qgemm(
    to: Rewriter, node: gs.Node, operands: list[gs.Tensor], bias: gs.Tensor | None,
    y: Written | None,
) -> None:  # fmt: skip
    attrs = {k: v for k, v in node.attrs.items() if k != "beta"}
    if y is not None:
        ends = [gs.Variable.empty() if bias is None else bias, y.coded.scale, y.coded.zero]
        to.place(node, "QGemm", [*operands, *ends], y, attrs, microsoft=True)
        return
    result = node.outputs[0]
    remove_node(to.model, node)
    inputs = [*operands, *([] if bias is None else [bias])]
    insert_node(to.model, "QGemm", inputs, [result], attrs, name=node.name, domain=MICROSOFT,
                like=node)  # fmt: skip


def _need_float_result(to: Rewriter) -> None:
    if not to.microsoft:
        raise Left("its result stays in float; of products on codes, com.microsoft has such ones")


def _transposed(to: Rewriter, weight: Coded) -> Coded:
    codes = np.asarray(weight.codes.values).T
    axis = None if weight.axis is None else 1 - weight.axis % 2
    return Coded(to.constant(f"{weight.codes.name}__T", codes), weight.scale, weight.zero, axis)


def _as_conv(
    to: Rewriter, node: gs.Node, x: Coded, weight: Coded, bias: gs.Tensor, y: Written
) -> None:
    """X · wᵀ + b as a convolution [out, in, 1, 1] of an image of one pixel: codes are the same."""
    codes = np.asarray(weight.codes.values)[:, :, None, None]
    kernel = to.constant(f"{weight.codes.name}__1x1", codes)
    pixel, image = (to.variable(f"{node.name}__{k}", x.kind) for k in ("pixel", "image"))
    out = y.coded.codes
    y.quantizer.outputs[0] = image
    before = Written(Coded(image, y.coded.scale, y.coded.zero, None), y.clamps, y.quantizer,
                     y.low, y.high)  # fmt: skip
    _reshape(to, "Unsqueeze", x.codes, pixel, node)
    inputs = [pixel, x.scale, x.zero, kernel, weight.scale, weight.zero, y.coded.scale,
              y.coded.zero, bias]  # fmt: skip
    to.place(node, "QLinearConv", inputs, before)
    _reshape(to, "Squeeze", image, out, node)


def _reshape(to: Rewriter, op: str, source: gs.Tensor, target: gs.Tensor, node: gs.Node) -> None:
    name = f"{node.name}__{op.lower()}"
    axes = np.array([2, 3], np.int64)
    by_input = to.model.opset >= 13
    inputs = [source, to.constant(f"{name}_axes", axes)] if by_input else [source]
    attrs = {} if by_input else {"axes": [2, 3]}
    insert_node(to.model, op, inputs, [target], attrs, name=to.model.unique_name(name), like=node)


def _added(
    to: Rewriter, node: gs.Node, a: Coded, b: Coded
) -> tuple[gs.Node | None, gs.Constant | None]:
    """The Add of a bias vector that alone reads *node*, and that bias in units of s_a · s_b."""
    add = sole_user(to.model, node.outputs[0])
    if add is None or add.op != "Add":
        return None, None
    index = 1 if add.inputs[0] is node.outputs[0] else 0
    shape: Sequence[object] = add.inputs[index].shape or ()
    columns = b.codes.shape[-1] if b.codes.shape else None
    if read(to.model, add.inputs[index]) is None or list(shape) != [columns]:
        return None, None
    try:
        bias = to.bias(add, index, a, b)
    except Left:
        return None, None
    return (add, bias) if isinstance(bias, gs.Constant) else (None, None)
