"""Quantized models as other tools make them, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from onnxq.graph import Model
from onnxq.report.layers import Layer, find_layers
from onnxq.report.matching import match
from onnxq.report.pair import make_pair

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
FIXTURES = Path(__file__).parent / "fixtures"

Feed = dict[str, np.ndarray]


def float_model(name: str) -> onnx.ModelProto:
    """A model of ``models/``."""
    return onnx.load(MODELS / f"{name}.onnx")


def samples(name: str, count: int = 8, *, evaluation: bool = True) -> list[Feed]:
    """Its samples, one a feed."""
    kind = "evaluation" if evaluation else "calibration"
    images = np.load(MODELS / f"{name.split('_')[-1 if 'mnist' in name else 0]}_{kind}.npz")
    return [{"input": image[None]} for image in images["input"][:count]]


class Reader(CalibrationDataReader):
    def __init__(self, feeds: list[Feed]) -> None:
        self.rest = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self.rest, None)


def by_onnxruntime(
    model: onnx.ModelProto, feeds: list[Feed], folder: Path, kind: str, **options: Any
) -> onnx.ModelProto:
    """*model* quantized by ONNX Runtime: *kind* is ``qdq``, ``qoperator`` or ``dynamic``.

    ``folded`` in front of it: after its own preprocessing, which folds batch normalization.
    """
    source, target = folder / "float.onnx", folder / "quantized.onnx"
    onnx.save(model, source)
    if kind.startswith("folded "):
        kind = kind.removeprefix("folded ")
        quant_pre_process(source, source, skip_symbolic_shape=True)
    if kind == "dynamic":
        quantize_dynamic(source, target, weight_type=QuantType.QInt8, **options)
    else:
        quantize_static(
            source, target, Reader(feeds),
            quant_format=QuantFormat.QDQ if kind == "qdq" else QuantFormat.QOperator,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            **{"per_channel": True, "reduce_range": True, **options},
        )  # fmt: skip
    return onnx.load(target)


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """*model* with every node and every tensor but inputs and outputs under another name."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph = found.graph
    del graph.value_info[:]
    kept = {t.name for t in (*graph.input, *graph.output)} | {""}
    names: dict[str, str] = {}

    def new(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"t{len(names)}")

    for tensor in graph.initializer:
        tensor.name = new(tensor.name)
    for i, node in enumerate(graph.node):
        node.name = f"n{i}"
        node.input[:] = [new(n) for n in node.input]
        node.output[:] = [new(n) for n in node.output]
    return found


def layers_of(original: Any, quantized: Any, feed: Feed) -> list[Layer]:
    """The layers of a pair, matched on *feed*."""
    pair = make_pair(Model.load(original), Model.load(quantized))
    return find_layers(pair, match(pair.original, pair.qdq, feed))


def multiplying(layers: list[Layer]) -> Iterator[Layer]:
    """Those that are a Conv, a Gemm or a MatMul."""
    return (e for e in layers if e.node.op in ("Conv", "Gemm", "MatMul", "ConvInteger",
                                               "MatMulInteger"))  # fmt: skip


def ruin(model: onnx.ModelProto, node: str, seed: int = 0) -> onnx.ModelProto:
    """*model* with the integers of the weight of *node* shuffled."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    by_output = {name: n for n in found.graph.node for name in n.output}
    target = next(n for n in found.graph.node if n.name == node)
    position = 3 if target.op_type.startswith("QLinear") else 1
    name = target.input[position]
    if name in by_output:
        name = by_output[name].input[0]
    tensor = next(t for t in found.graph.initializer if t.name == name)
    values = onnx.numpy_helper.to_array(tensor).copy()
    np.random.default_rng(seed).shuffle(values.reshape(-1))
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
    return found
