"""The report on a quantized model that is there already, made by onnxq or by another tool.

Its tensors are recognised in the float model by structure and values (see ``matching``); its codes
are read off the running quantized model, so that the kernels that will be deployed are measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from types import SimpleNamespace
from typing import Any

from numpy.typing import NDArray

from onnxq.errors import DataError, UnsupportedModelError, UserError
from onnxq.graph import Model
from onnxq.pipeline import Context, TensorFact
from onnxq.pipeline.macs import macs
from onnxq.report.advise import Effort, advise
from onnxq.report.boundary import boundary_of, taken
from onnxq.report.build import output_entry
from onnxq.report.entries import finite, isolated_entry, place, rank
from onnxq.report.equalized import equalized
from onnxq.report.isolated import Arithmetic
from onnxq.report.layers import FLOATS, Layer, find_layers
from onnxq.report.matching import match
from onnxq.report.measure import Errors, measure
from onnxq.report.moved import arranges_input
from onnxq.report.pair import Pair, make_pair
from onnxq.report.reading import functions_read
from onnxq.report.recognised import Matching
from onnxq.report.relaxed import MOVES
from onnxq.report.skeleton import COMPUTE, op_class
from onnxq.report.spread import Spread
from onnxq.runtime.coverage import kernels
from onnxq.runtime.probe import probe
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session
from onnxq.targets import get_target

Feed = Mapping[str, NDArray[Any]]

_FOREIGN = 0.75
"""Share of operators that are lost or have other weights from which the models are strangers."""

_UNEVEN = (
    "isolated errors were not measured: the models are of different opsets, and the older one "
    "could not be raised"
)
_FORMAT = ("QuantizeLinear", "DequantizeLinear", "Constant", "DynamicQuantizeLinear")


def compare(
    original: Model,
    quantized: Model,
    feeds: Iterable[Feed],
    *,
    providers: Sequence[Provider] = (),
    digest: str = "",
    arithmetic: Arithmetic = "fake-quantized",
    effort: Effort | None = None,
) -> dict[str, Any]:
    """The report (``onnxq-report/1``) on *quantized* against *original*, on all of *feeds*.

    A layer's isolated error is that of the layer alone, on the float model's values, in the given
    *arithmetic* (see ``Isolated``); in its cumulative one the quantized model runs on its own.
    *effort* says how much time goes into what layers do to the outputs.

    Raises:
        UserError: the two models do not belong together, or nothing is quantized.
        UnsupportedModelError, DataError: ONNX Runtime cannot run one of them.
    """
    pair = make_pair(original, quantized)
    samples = iter(feeds)
    first = next(samples, None)
    if first is None:
        raise DataError("there is no sample to compare on")
    boundary = boundary_of(pair.quantized)
    inputs = _load(pair.quantized, providers).inputs
    converted = {**first, **taken(first, inputs, boundary)}
    matching = match(pair.original, pair.qdq, first, converted)
    real, names = equalized(pair, matching)
    layers = find_layers(pair, matching, names)
    found = [layer for layer in layers if layer.tensor is not None]
    _check(layers, matching)
    codes = {str(e.tensor): (e.result, e.qparams or FLOATS) for e in reversed(found)}
    kept = Spread()
    feeds = kept.watch(chain([first], samples))
    matches = {a: b for a, b in names.items() if a not in matching.scaled}
    level = pair.original.opset == pair.qdq.opset
    errors = measure(
        real, pair.qdq, codes, feeds, boundary=boundary, through=functions_read(pair.qdq, names),
        providers=providers,
        matches=matches if level else None, arithmetic=arithmetic,
    )  # fmt: skip
    fused = kernels(pair.quantized, providers)
    carried = {g.node for g in errors.isolated.exact} if errors.isolated else set()
    if "onnxq.recipe" in quantized.metadata:
        carried |= {e.node.name for e in found if _planned_float(e)}
    carried -= fused.keys()
    found = [e for e in found if e.node.name not in carried]
    costs = _costs(pair.qdq, converted)
    entries = [_entry(e, errors, fused.get(e.node.name), costs) for e in found]
    place(entries, pair.original)
    entries.sort(key=rank)
    work = [n for n in pair.qdq.graph.nodes if n.op not in _FORMAT]
    total = sum(costs.values())
    report: dict[str, Any] = {
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
            "bytes_float": original.message_bytes(),
            "bytes_quantized": quantized.message_bytes(),
            "macs": total,
            "integer_macs_percent": (
                100.0 * sum(c for n, c in costs.items() if n in fused) / total if total else None
            ),
            "integer_nodes_percent": 100.0 * sum(n.name in fused for n in work) / max(len(work), 1),
        },
        "layers": entries,
        "tensors": {} if errors.isolated is None else errors.isolated.tensors(),
        "arithmetic": None if errors.isolated is None else errors.isolated.arithmetic,
        "kept_float": _kept_float(pair, layers, carried, fused),
        "unmatched": [
            {
                "quantized_node": e.node.name,
                "op_type": e.op_type,
                "tensor": e.result,
                "reason": e.reason,
            }
            for e in layers
            if e.tensor is None and not arranges_input(e.node)
        ],
        "declines": [],
        "warnings": _warnings(layers, matching) + ([] if level else [_UNEVEN]),
        "recommendation": [],
    }
    if errors.isolated is not None:
        advise(report, errors.isolated, kept, effort=effort or Effort(), providers=providers)
    return report


def _load(model: Model, providers: Sequence[Provider]) -> Session:
    try:
        return Session(model, providers)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(
            "ONNX Runtime cannot load the quantized model",
            why=error.why,
            hint="what ONNX Runtime refuses cannot be measured: check how the model was quantized",
        ) from error


def _check(layers: Sequence[Layer], matching: Matching) -> None:
    """Raise where next to nothing of the quantized model is found in the float one."""
    work = [e for e in layers if op_class(e.node) in COMPUTE] or layers
    lost = [e for e in work if e.tensor is None and e.result not in matching.scaled]
    other = [e for e in work if e.result in matching.other_weights]
    if len(lost) + len(other) <= _FOREIGN * len(work):
        return
    why = f"of {len(work)} quantized operators, {len(lost)} are not found in the float model"
    if lost:
        why += f", such as '{lost[0].node.name}' ({lost[0].node.op}): {lost[0].reason}"
    if other:
        why += f"; {len(other)} have other weights, such as '{other[0].node.name}'"
    raise UserError(
        "the two models do not belong together",
        why=why,
        hint="give the model that the quantized one was made from",
    )


def _kept_float(
    pair: Pair, layers: Sequence[Layer], carried: AbstractSet[str], fused: Mapping[str, str]
) -> list[dict[str, str]]:
    """Operators that multiply and have no integer kernel, and *carried*, which round nothing."""
    names = {e.node.name: e.origin for e in layers}
    found = []
    for node in pair.qdq.graph.nodes:
        reason = "no integer kernel in the optimized graph"
        if node.name in carried:
            reason = (
                "it runs in float between conversions: no integer kernel in the optimized graph"
            )
        elif op_class(node) not in COMPUTE or node.name in fused:
            continue
        name = names.get(node.name) or node.name
        found.append({"node": name, "op_type": node.op, "reason": reason})
    return found


def _planned_float(layer: Layer) -> bool:
    """Whether a layer without a kernel is what onnxq keeps in float between integer ones."""
    node = layer.node
    moves = node.op in MOVES | {"Pad"}
    stored = " × " in layer.precision
    float_weight = node.op in ("Conv", "ConvTranspose", "Gemm") and layer.weights is None
    float_weight = float_weight and not stored
    return moves or float_weight or layer.precision == "float"


def _warnings(layers: Sequence[Layer], matching: Matching) -> list[str]:
    """What is not in the report, and what was recognised in spite of its values."""
    lost = [e for e in layers if e.tensor is None]
    scaled = [e for e in lost if e.result in matching.scaled]
    lost = [e for e in lost if e.result not in matching.scaled]
    found = []
    for group, what in ((lost, "could not be found in the float model"),
                        (scaled, "have other numbers than in the float model")):  # fmt: skip
        if group:
            found.append(
                f"{len(group)} of {len(layers)} quantized operators {what} and are not in this "
                f"report, such as '{group[0].node.name}' ({group[0].node.op}): {group[0].reason}"
            )
    return found


def _costs(model: Model, feed: Feed) -> dict[str, int]:
    """Multiply-accumulates by node name."""
    ctx = Context(target=get_target("generic"))
    found = probe(model, {t.name: feed[t.name] for t in model.graph.inputs if t.name in feed})
    ctx.facts = {name: TensorFact(info.dtype, info.shape) for name, info in found.items()}
    nodes: list[Any] = [
        SimpleNamespace(op=op_class(n), inputs=n.inputs, outputs=n.outputs, attrs=n.attrs)
        for n in model.graph.nodes
    ]
    return {
        n.name: macs(like, ctx) or 0
        for n, like in zip(model.graph.nodes, nodes, strict=True)
        if n.outputs
    }


def _entry(
    layer: Layer, errors: Errors, kernel: str | None, costs: Mapping[str, int]
) -> dict[str, Any]:
    result = str(layer.tensor)
    sums = errors.tensors.get(result)
    reason = f"measured at '{result}'"
    if layer.scaled:
        reason += f": its channels are scaled in the quantized model, by {layer.scaled}"
    if kernel is None:
        reason += "; the runtime did not fuse it: it runs in float between Q and DQ"
    alone = isolated_entry(layer.node.name, result, errors.isolated)
    if errors.isolated is not None and alone["isolated_sqnr_db"] is None:
        reason += f"; not measured alone: {_why_not_alone(layer)}"
    return {
        "node": layer.origin,
        "quantized_node": layer.node.name,
        "op_type": layer.op_type,
        "precision": layer.precision,
        "kernel": kernel,
        "macs": costs.get(layer.node.name),
        **alone,
        "cumulative_sqnr_db": None if sums is None else finite(sums.sqnr_db),
        "noise_to_signal": None if sums is None else finite(sums.noise_to_signal),
        "cosine": None if sums is None else finite(sums.cosine),
        "reason": reason,
        "result": result,
        "inputs": list(layer.inputs),
        "weights": layer.weights,
    }


def _why_not_alone(layer: Layer) -> str:
    if layer.reason:
        return layer.reason
    if layer.dynamic:
        return "its scales are chosen in each run, and what it reads could not be recognised"
    if layer.inputs:
        return "what it reads, or hands on, could not be recognised in the float model"
    if layer.weights is None and layer.node.op in MOVES:
        return "it moves codes and rounds nothing"
    return "it computes on floats, and its result alone is quantized"
