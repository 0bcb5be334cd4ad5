"""What runtimes ask of quantized models: each function yields nodes and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from onnx import TensorProto

from onnxq.report.coverage.conversions import WORDS, Conversion, type_text
from onnxq.report.groups import PRODUCTS, QUANTIZE
from onnxq.report.lint.view import STANDARD, Product, View, attribute

Found = Iterator[tuple[str, str]]
"""Names of nodes ("" for the model), and what is wrong."""
Look = Callable[[View], Found]


def zero_points(view: View) -> Found:
    """Zero points other than 0."""
    for c in view.conversions():
        if c.zero is not None and c.zero.any():
            shown = str(int(c.zero.reshape(-1)[0])) if c.zero.size == 1 else "not all 0"
            yield c.node.name, f"its zero point is {shown}"


def types(allowed: Collection[int]) -> Look:
    """Codes of other types than *allowed*; int32 biases aside."""

    def look(view: View) -> Found:
        for c in view.conversions():
            if c.dtype not in (*allowed, TensorProto.INT32, 0):
                yield c.node.name, f"its codes are {type_text(c.dtype)}"

    return look


def activation_types(allowed: Collection[int]) -> Look:
    """Activations of other types than *allowed*."""

    def look(view: View) -> Found:
        for c in view.conversions():
            if not view.on_weight(c) and c.dtype not in (*allowed, 0):
                yield c.node.name, f"its codes are {type_text(c.dtype)}"

    return look


def product_types(allowed: Collection[int]) -> Look:
    """Products of which an operand has codes of another type than *allowed*."""

    def look(view: View) -> Found:
        for p in view.products():
            for c in (p.input, p.weight):
                if c is not None and c.dtype not in (*allowed, 0):
                    yield p.node.name, f"it reads {type_text(c.dtype)}"
                    break

    return look


def integer_biases(view: View) -> Found:
    """DequantizeLinear of int32."""
    for c in view.conversions():
        if c.dtype == TensorProto.INT32:
            yield c.node.name, "it dequantizes int32"


def activation_scales(view: View) -> Found:
    """Activations with a scale for each channel."""
    for c in view.conversions():
        if c.scales > 1 and not view.on_weight(c):
            yield c.node.name, f"an activation has {c.scales} scales"


def computed_scales(view: View) -> Found:
    """Scales that are no constants."""
    for c in view.conversions():
        if not view.graph.constant(c.node.input[1]):
            yield c.node.name, f"its scale '{c.node.input[1]}' is computed in the run"


def weight_axes(operators: Collection[str] = PRODUCTS) -> Look:
    """Weights of *operators* with scales along another axis than that of the output channels."""

    def look(view: View) -> Found:
        for p in view.products():
            w = p.weight
            rank = 0 if w is None else view.rank(w.node.input[0])
            if w is None or not rank or w.scales == 1 or w.block or p.node.op_type not in operators:
                continue
            columns = 0 if attribute(p.node, "transB", 0) else 1
            right = {"Conv": 0, "ConvTranspose": 1, "MatMul": rank - 1, "Gemm": columns}
            axis = right[p.node.op_type]
            if w.axis % rank != axis:
                yield p.node.name, f"the scales of its weight lie along axis {w.axis}, not {axis}"

    return look


def half_quantized(view: View) -> Found:
    """Products of which one operand is quantized and the other is not."""
    for p in view.products():
        if (p.input is None) != (p.weight is None):
            bare = 0 if p.input is None else 1
            yield p.node.name, f"its input {bare} '{p.node.input[bare]}' is in float"


def float_products(view: View) -> Found:
    """Products that read floats."""
    for p in view.products():
        if p.input is None and p.weight is None:
            yield p.node.name, "it is not quantized"


def product_scales(view: View) -> Found:
    """Products whose input has a scale for each channel; not depthwise convolutions."""
    for p in view.products():
        depthwise = attribute(p.node, "group", 1) > 1 and _depthwise(view, p)
        if p.input is not None and p.input.scales > 1 and not depthwise:
            yield p.node.name, f"its input has {p.input.scales} scales"


def _depthwise(view: View, product: Product) -> bool:
    stored = None if product.weight is None else product.weight.node.input[0]
    value = None if stored is None else view.reader.value(stored)
    return value is not None and value.ndim > 1 and value.shape[1] == 1


def weight_zero_points(view: View) -> Found:
    """Products whose second operand has a zero point other than 0."""
    for p in view.products():
        zero = None if p.weight is None else p.weight.zero
        if zero is not None and zero.any():
            yield p.node.name, f"the zero point of '{p.node.input[1]}' is not 0"


def unsigned_weights(view: View) -> Found:
    """Products whose second operand is uint8."""
    for p in view.products():
        if p.weight is not None and p.weight.dtype == TensorProto.UINT8:
            yield p.node.name, f"'{p.node.input[1]}' has codes of uint8"


def unsigned_convolutions(view: View) -> Found:
    """Convolutions with uint8 weights, all zero points 0, whose result is quantized."""
    for p in view.products():
        w = p.weight
        if p.node.op_type == "Conv" and w is not None and w.dtype == TensorProto.UINT8:
            shifted = w.zero is not None and w.zero.any()
            if not shifted and view.is_quantized(p.node.output[0]):
                yield p.node.name, f"'{p.node.input[1]}' has codes of uint8 with zero points of 0"


def signed_zero_points(view: View) -> Found:
    """Convolutions of int8 activations with a zero point other than 0."""
    for p in view.products():
        x = p.input
        signed = p.node.op_type == "Conv" and x is not None and x.dtype == TensorProto.INT8
        if signed and x is not None and x.zero is not None and x.zero.any():
            yield p.node.name, "its input is int8 with a zero point other than 0"


def input_zero_points(view: View) -> Found:
    """Transposed convolutions, and products of two activations, whose first has a zero point."""
    for p in view.products():
        zero = None if p.input is None else p.input.zero
        computed = not view.graph.constant(p.node.input[1])
        strict = p.node.op_type == "ConvTranspose" or (computed and p.node.op_type != "Conv")
        if strict and zero is not None and zero.any():
            yield p.node.name, f"the zero point of '{p.node.input[0]}' is not 0"


def transposed_groups(view: View) -> Found:
    """Transposed convolutions in groups."""
    for p in view.products():
        if p.node.op_type == "ConvTranspose" and attribute(p.node, "group", 1) > 1:
            yield p.node.name, "it is a transposed convolution in groups"


def words(view: View) -> Found:
    """Activations of 16 bits."""
    for c in view.conversions():
        if c.node.op_type == QUANTIZE and c.dtype in WORDS and not view.on_weight(c):
            yield c.node.name, "codes of 16 bits are left out, and with them what they clip"


def product_computed(view: View) -> Found:
    """Products that read codes of which the scale is computed in the run."""
    for p in view.products():
        if any(c is not None and not _stored(view, c) for c in (p.input, p.weight)):
            yield p.node.name, "a scale that it reads is computed in the run"


def _stored(view: View, conversion: Conversion) -> bool:
    return view.graph.constant(conversion.node.input[1])


def operators(refused: Collection[str]) -> Look:
    """Operators of the standard domain that are *refused*."""

    def look(view: View) -> Found:
        for node in view.graph.nodes:
            if node.domain in STANDARD and node.op_type in refused:
                yield node.name, f"{node.op_type} is not supported"

    return look


def unlisted(listed: Collection[str], also: Collection[str] = ()) -> Look:
    """Operators that are not *listed*; *also* are those of com.microsoft that are."""

    def look(view: View) -> Found:
        for node in view.graph.nodes:
            known = listed if node.domain in STANDARD else also
            if node.op_type not in known and node.op_type != "Constant":
                shown = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
                yield node.name, f"{shown} is not among its operators"

    return look


def domains(view: View) -> Found:
    """Operators outside the standard domain."""
    for node in view.graph.nodes:
        if node.domain not in STANDARD:
            yield node.name, f"{node.domain}.{node.op_type} is no standard operator"


def opset(least: int, most: int) -> Look:
    """An opset outside *least* to *most*."""

    def look(view: View) -> Found:
        if not least <= view.opset <= most:
            yield "", f"the model has opset {view.opset}, not {least} to {most}"

    return look


def free_dimensions(view: View) -> Found:
    """Inputs with dimensions that are not fixed."""
    for value in view.model.graph.input:
        if value.name in view.graph.inputs:
            dims = value.type.tensor_type.shape.dim
            free = [d.dim_param or "?" for d in dims if not d.dim_value]
            if free or not value.type.tensor_type.HasField("shape"):
                yield "", f"input '{value.name}' has free dimensions: {', '.join(free) or 'all'}"
