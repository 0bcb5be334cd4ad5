"""Scales of a QDQ model for other tools, with the model that these take beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import UnsupportedModelError
from onnxq.graph import (
    Model,
    attribute,
    bypass,
    constant_value,
    consumers,
    insert_node,
    producer,
    remove_node,
    replace_input,
    replace_uses,
)
from onnxq.quant import DTYPES
from onnxq.quant.encodings import Encoding, aimet, ppq, tensorrt

#: What `insert-qdq` appends to the names of tensors.
_MARKS = ("__dq", "__float", "__q")
#: What can absorb a Relu or Relu6 into the range of its result.
_CLAMPED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul")


def encodings(model: Model) -> tuple[list[Encoding], dict[str, str]]:
    """Encodings of the tensors of a QDQ *model*, and for each the node that reads or makes it.

    Tensors have the names of the float model. Biases of 32 bits follow from other scales: they are
    not among them.

    Raises:
        UnsupportedModelError: scales in blocks, or computed while the model runs.
    """
    made: dict[str, Encoding] = {}
    users: dict[str, str] = {}
    for node in model.graph.nodes:
        if node.op != "DequantizeLinear":
            continue
        above, real = producer(node.inputs[0]), node.outputs[0]
        weight = constant_value(node.inputs[0]) is not None
        if weight or above is None or above.op != "QuantizeLinear":
            name = _plain(real.name)
        else:
            source = above.inputs[0]
            weight = constant_value(source) is not None
            name = _plain(real.name if source.name.endswith("__float") else source.name)
        found = _encoding(node, name, weight=weight)
        if found is not None and name not in made:
            made[name] = found
            after = consumers(real)
            users[name] = after[0][0].name if after else (above.name if above else node.name)
    return list(made.values()), users


def _encoding(node: gs.Node, name: str, *, weight: bool) -> Encoding | None:
    scale = constant_value(node.inputs[1])
    if scale is None or int(attribute(node, "block_size", 0)):
        raise UnsupportedModelError(
            f"the scales of '{name}' cannot be written down",
            why="they are in blocks, or computed while the model runs",
            hint="--granularity tensor or channel, --mode static",
        )
    zero = constant_value(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2].name else None
    dtype = DTYPES["uint8" if zero is None else zero.dtype.name]
    if dtype.bits > 16:
        return None
    zeros = np.zeros(scale.size, np.int64) if zero is None else zero.astype(np.int64).reshape(-1)
    middle = 0 if dtype.signed else 1 << (dtype.bits - 1)
    return Encoding(
        name, scale.reshape(-1).astype(np.float32), dtype.qmin - zeros, dtype.bits,
        bool((zeros == middle).all()), weight,
    )  # fmt: skip


def _plain(name: str) -> str:
    for mark in _MARKS:
        name = name.removesuffix(mark)
    return name


def floats(model: Model) -> Model:
    """*model* without Q and DQ: weights are the numbers that their codes stand for.

    A range that begins at 0 may stand for a Relu, and one of 0 … 6 for a Relu6: they come back.
    """
    work = model.clone()
    for node in [n for n in work.graph.nodes if n.op == "QuantizeLinear"]:
        _clamp(work, node)
    for node in _dequantized_constants(work):
        _store(work, node, _plain(node.outputs[0].name))
    for op in ("DequantizeLinear", "QuantizeLinear"):
        for node in [n for n in work.graph.nodes if n.op == op]:
            name, is_output = node.outputs[0].name, work.is_output(node.outputs[0])
            above = node.inputs[0]
            bypass(work, node)
            if op == "QuantizeLinear" and not is_output and above.name.endswith("__float"):
                above.name = _plain(name)
    return work


def _clamp(model: Model, quantize: gs.Node) -> None:
    raw, above = quantize.inputs[0], producer(quantize.inputs[0])
    if above is None or above.op not in _CLAMPED or constant_value(quantize.inputs[1]) is None:
        return
    found = _encoding(quantize, raw.name, weight=False)
    if found is None or found.scale.size > 1 or found.offset[0]:
        return
    name, raw.name = raw.name, model.unique_name(f"{raw.name}__linear")
    made, ends = gs.Variable(name, raw.dtype, raw.shape), []
    if abs(found.high[0] - 6) < 1e-3:
        ends = [gs.Constant(model.unique_name(f"{name}__{n}"), np.array(n, np.float32))
                for n in (0, 6)]  # fmt: skip
    op = "Clip" if ends else "Relu"
    insert_node(model, op, [raw, *ends], [made], name=model.unique_name(f"{above.name}__{op}"))
    replace_input(quantize, 0, made)


def float_biases(model: Model) -> Model:
    """*model* with biases as floats, as TensorRT wants them."""
    work = model.clone()
    for node in _dequantized_constants(work):
        stored = constant_value(node.inputs[0])
        if stored is not None and stored.dtype == np.int32:
            _store(work, node, _plain(node.outputs[0].name))
    return work


def _dequantized_constants(model: Model) -> Iterator[gs.Node]:
    for node in list(model.graph.nodes):
        if node.op == "DequantizeLinear" and constant_value(node.inputs[0]) is not None:
            yield node


def _store(model: Model, node: gs.Node, name: str) -> None:
    codes, scale = (constant_value(t) for t in node.inputs[:2])
    assert codes is not None and scale is not None
    zero = constant_value(node.inputs[2]) if len(node.inputs) > 2 else None
    shape = [1] * codes.ndim
    if scale.size > 1:
        shape[int(attribute(node, "axis", 1)) % codes.ndim] = -1
    elif not codes.ndim:
        shape = []
    steps = codes.astype(np.int64)
    if zero is not None:
        steps = steps - zero.astype(np.int64).reshape(shape)
    real = steps.astype(np.float32) * scale.astype(np.float32).reshape(shape)
    replace_uses(model, node.outputs[0], gs.Constant(model.unique_name(name), np.asarray(real)))
    remove_node(model, node)


def encoding_files(model: Model, to: str, name: str) -> tuple[dict[str, str], Model]:
    """Text files by name, and the model to go with them.

    Args:
        model: a QDQ model.
        to: ``tensorrt``, ``aimet`` or ``ppq``.
        name: of the model, for the files.

    Raises:
        UnsupportedModelError: nothing is quantized, or not as the tool can have it.
    """
    found, users = encodings(model)
    if not found:
        raise UnsupportedModelError("the model has no scales", hint="'onnxq quantize' first")
    if to == "aimet":
        return {f"{name}.encodings.json": aimet.write(found)}, floats(model)
    if to == "ppq":
        return {f"{name}.ppq.json": ppq.write(found, users)}, floats(model)
    for e in found:
        if e.bits != 8 or not e.symmetric:
            raise UnsupportedModelError(
                f"TensorRT cannot have the codes of '{e.name}'",
                why=f"they have {e.bits} bits, symmetric: {json.dumps(e.symmetric)}; it takes "
                "symmetric int8",
                hint="quantize with --target tensorrt",
            )
    return {f"{name}.cache": tensorrt.write(found)}, float_biases(model)
