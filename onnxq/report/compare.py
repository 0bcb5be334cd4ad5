"""The report on a quantized model that is there already, made by onnxq or by another tool.

Tensors are matched by name: a QuantizeLinear reads, or the DequantizeLinear behind it writes, a
tensor that the float model has too. Its codes are read off the running quantized model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import DataError, UserError
from onnxq.graph import Model, constant_value, consumers, producer
from onnxq.pipeline import Context, TensorFact
from onnxq.pipeline.macs import macs
from onnxq.pipeline.scaled import scaled_tensors
from onnxq.quant import QParams, dtype
from onnxq.quant.measures import ErrorSums
from onnxq.report.boundary import boundary_of, taken
from onnxq.report.build import finite, output_entry
from onnxq.report.measure import measure
from onnxq.runtime.coverage import kernels
from onnxq.runtime.probe import probe
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session
from onnxq.targets import get_target

Feed = Mapping[str, NDArray[Any]]

_COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul", "RNN", "GRU", "LSTM")
_FORMAT = ("QuantizeLinear", "DequantizeLinear", "Constant")


@dataclass(frozen=True)
class Match:
    """A tensor of the float model and where the quantized model has it.

    Attributes:
        tensor: its name in the float model.
        codes: name of the tensor of integers.
        qparams: their scale and zero point.
        node: the node of the quantized model that computes it.
    """

    tensor: str
    codes: str
    qparams: QParams
    node: gs.Node


def compare(
    original: Model,
    quantized: Model,
    feeds: Iterable[Feed],
    *,
    providers: Sequence[Provider] = (),
    digest: str = "",
) -> dict[str, Any]:
    """The report (``onnxq-report/1``) on *quantized* against *original*, on all of *feeds*.

    Errors are cumulative: the quantized model runs on its own values throughout.

    Raises:
        UserError: the two models have not the same outputs.
        UnsupportedModelError, DataError: ONNX Runtime cannot run one of them.
    """
    missing = {t.name for t in original.graph.outputs} - {t.name for t in quantized.graph.outputs}
    if missing:
        raise UserError(
            f"output '{min(missing)}' of the float model is not in the quantized one",
            hint="give the model that the quantized one was made from",
        )
    samples = iter(feeds)
    first = next(samples, None)
    if first is None:
        raise DataError("there is no sample to compare on")
    matches = list(find_matches(original, quantized))
    codes = {m.tensor: (m.codes, m.qparams) for m in matches}
    boundary = boundary_of(quantized)
    feeds = chain([first], samples)
    errors = measure(original, quantized, codes, feeds, boundary=boundary, providers=providers)
    fused = kernels(quantized, providers)
    inputs = Session(quantized, providers).inputs
    costs = _costs(quantized, taken(first, inputs, boundary))
    layers = [_layer(m, errors.tensors.get(m.tensor), fused, costs) for m in matches]
    layers.sort(key=lambda e: (e["cumulative_sqnr_db"] is None, e["cumulative_sqnr_db"]))
    work = [n for n in quantized.graph.nodes if n.op not in _FORMAT]
    total = sum(costs.values())
    return {
        "schema": "onnxq-report/1",
        "model": quantized.path.name if quantized.path else "model",
        "target": quantized.metadata.get("onnxq.target", ""),
        "recipe": quantized.metadata.get("onnxq.recipe", ""),
        "versions": {},
        "data": {
            "digest": digest,
            "calibration_samples": None,
            "report_samples": errors.samples,
            "held_out": None,
        },
        "summary": {
            "outputs": [output_entry(name, sums, errors) for name, sums in errors.outputs.items()],
            "bytes_float": int(original.to_proto().ByteSize()),
            "bytes_quantized": int(quantized.to_proto().ByteSize()),
            "integer_macs_percent": (
                100.0 * sum(c for n, c in costs.items() if n in fused) / total if total else None
            ),
            "integer_nodes_percent": 100.0 * sum(n.name in fused for n in work) / max(len(work), 1),
        },
        "layers": layers,
        "kept_float": [
            {"node": n.name, "op_type": n.op, "reason": "no integer kernel in the optimized graph"}
            for n in work
            if n.op in _COMPUTE and n.name not in fused
        ],
        "declines": [],
        "warnings": [] if matches else ["no tensor of the two models could be matched by name"],
        "recommendation": [],
    }


def find_matches(original: Model, quantized: Model) -> Iterator[Match]:
    """Tensors of *original* whose codes *quantized* computes, in the order of *quantized*.

    Those whose channels were scaled on the way are left out.
    """
    known = {name for name, t in original.tensors().items() if producer(t) is not None}
    known -= scaled_tensors(quantized) - scaled_tensors(original)
    for quantize in quantized.graph.nodes:
        if quantize.op != "QuantizeLinear":
            continue
        source = quantize.inputs[0]
        node = producer(source)
        qparams = parameters(quantize)
        if node is None or node.op in _FORMAT or qparams is None:
            continue
        codes = quantize.outputs[0]
        real = [user.outputs[0].name for user, _ in consumers(codes) if user.outputs]
        found = next((name for name in (*real, source.name) if name in known), None)
        if found is not None:
            known.discard(found)
            yield Match(found, codes.name, qparams, node)


def parameters(quantize: gs.Node) -> QParams | None:
    """Scale and zero point of a QuantizeLinear; None where they are computed, or in blocks."""
    scale = constant_value(quantize.inputs[1])
    stored = constant_value(quantize.inputs[2]) if len(quantize.inputs) > 2 else None
    if scale is None or scale.ndim > 1 or (len(quantize.inputs) > 2 and stored is None):
        return None
    zero = np.zeros(scale.shape, np.uint8) if stored is None else stored
    axis = int(quantize.attrs.get("axis", 1)) if scale.size > 1 else None
    if axis is None:
        scale, zero = scale.reshape(()), zero.reshape(())
    return QParams(
        scale.astype(np.float32), zero.astype(np.int64), dtype(str(zero.dtype)), axis=axis
    )


def _costs(model: Model, feed: Feed) -> dict[str, int]:
    """Multiply-accumulates by node name."""
    ctx = Context(target=get_target("generic"))
    found = probe(model, feed)
    ctx.facts = {name: TensorFact(info.dtype, info.shape) for name, info in found.items()}
    return {n.name: macs(n, ctx) or 0 for n in model.graph.nodes}


def _layer(
    match: Match, sums: ErrorSums | None, fused: Mapping[str, str], costs: Mapping[str, int]
) -> dict[str, Any]:
    kernel = fused.get(match.node.name)
    return {
        "node": match.node.name,
        "op_type": match.node.op,
        "precision": match.qparams.dtype.name,
        "kernel": kernel,
        "macs": costs.get(match.node.name),
        "isolated_sqnr_db": None,
        "cumulative_sqnr_db": None if sums is None else finite(sums.sqnr_db),
        "noise_to_signal": None if sums is None else finite(sums.noise_to_signal),
        "cosine": None if sums is None else finite(sums.cosine),
        "share": None,
        "clipped": None,
        "reason": f"measured at '{match.tensor}'"
        + ("" if kernel else "; the runtime did not fuse it: it runs in float between Q and DQ"),
    }
