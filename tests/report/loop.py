"""Isolated errors the plain way: the float network runs once per layer, arrays leave every run.

It stands for tools that measure a layer at a time, and is the oracle of the graph of twins, with
which it has no code in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx.utils import Extractor

import onnxq
from onnxq.quant import QuantSpec
from onnxq.quant.activations import ACTIVATIONS
from onnxq.quant.measures import ErrorSums
from onnxq.report.build import result_name


def session(model: onnx.ModelProto, *, qdq: bool) -> ort.InferenceSession:
    """*model*, its groups fused into integer kernels or not."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", str(int(not qdq)))
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def layers(result: onnxq.Result) -> Iterator[tuple[str, dict[str, str], str]]:
    """Of each layer its node, its inputs (float tensor by quantized model's tensor), its result."""
    there = result.model.tensors()
    for node in result.original.nodes():
        planned = result.ctx.plan.nodes.get(node.name)
        if planned is None:
            continue
        inputs = {}
        for index in planned.inputs:
            name = node.inputs[index].name
            if name in result.ctx.qparams and node.inputs[index].inputs:
                inputs[f"{name}__float" if f"{name}__float" in there else name] = name
            elif any(t.name == name for t in result.original.graph.inputs):
                inputs[name] = name
        yield node.name, inputs, result_name(node, planned)


def loop(
    result: onnxq.Result, feeds: Sequence[dict[str, Any]], *, qdq: bool = False
) -> dict[str, ErrorSums]:
    """Sums of signal and noise by node, each layer alone on the values of the float model."""
    extractor = Extractor(onnx.shape_inference.infer_shapes(_typed(result)))
    original = result.original.to_proto()
    given = {i.name for i in original.graph.input}
    found = {}
    for node, inputs, output in layers(result):
        part = session(extractor.extract_model([*inputs], [output]), qdq=qdq)
        tapped = onnx.ModelProto()
        tapped.CopyFrom(original)
        names = [n for n in dict.fromkeys([*inputs.values(), output]) if n not in given]
        del tapped.graph.output[:]
        tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        whole = session(tapped, qdq=True)
        spec = result.ctx.plan.tensors.get(output)
        through = spec.through if isinstance(spec, QuantSpec) else None
        sums = found[node] = ErrorSums()
        for feed in feeds:
            real = dict(zip(names, whole.run(names, feed), strict=True)) | feed
            got = part.run([output], {mine: real[theirs] for mine, theirs in inputs.items()})[0]
            pair = real[output], got
            if through is not None:
                scale = np.float32(spec.through_scale)  # type: ignore[union-attr]
                one, two = (scale * ACTIVATIONS[through](x / scale) for x in pair)
                pair = one, two
            sums.add(*pair)
    return found


def _typed(result: onnxq.Result) -> onnx.ModelProto:
    """The quantized model without stale shapes."""
    model = result.model.to_proto()
    del model.graph.value_info[:]
    return model
