"""The error report: one dictionary of the schema ``onnxq-report/1``, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from onnxq.graph import Model, is_constant
from onnxq.pipeline import Context, NodePlan
from onnxq.pipeline.eligibility import NOT_FLOAT
from onnxq.pipeline.macs import macs
from onnxq.quant import Fixed, QuantSpec
from onnxq.quant.measures import ErrorSums
from onnxq.report.entries import finite, isolated_entry, place, rank, weight_entry
from onnxq.report.measure import Errors

__all__ = ["Facts", "build", "finite", "output_entry", "result_name"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the report states besides measured errors.

    Attributes:
        recipe: the name of the recipe.
        passes: the recipe written out.
        versions: package versions by name.
        data: digest, calibration_samples, report_samples, held_out, and what else is known.
        notes: what is worth knowing, and no warning.
        bytes_float, bytes_quantized: sizes of the two models as written.
        kernels: by node name, the integer kernel that the runtime made of it.
    """

    recipe: str
    passes: str
    versions: Mapping[str, str]
    data: Mapping[str, Any]
    bytes_float: int
    bytes_quantized: int
    kernels: Mapping[str, str]
    notes: tuple[str, ...] = ()


def build(original: Model, ctx: Context, errors: Errors, facts: Facts) -> dict[str, Any]:
    """The report on the quantization of *original*, worst layer first.

    *original* is the float model before integers were put in. Errors that were not measured are
    None. Layers are ranked by their isolated error, by the cumulative one where that is not known.
    """
    costs = {n.name: macs(n, ctx) for n in original.nodes()}
    layers = [
        _layer(node, ctx.plan.nodes[node.name], ctx, errors, facts, costs[node.name])
        for node in original.nodes()
        if node.name in ctx.plan.nodes and node.name not in ctx.added
    ]
    place(layers, original)
    layers.sort(key=rank)
    kept = [
        {"node": node.name, "op_type": node.op, "reason": ctx.plan.kept_float[node.name]}
        for node in original.nodes()
        if ctx.plan.kept_float.get(node.name, NOT_FLOAT) != NOT_FLOAT
        and node.name not in ctx.added
        and not _absorbed(node.name, ctx)
    ]
    total = sum(c or 0 for c in costs.values())
    integer = sum(costs[e["node"]] or 0 for e in layers if e["kernel"])
    fused = sum(1 for e in layers if e["kernel"])
    return {
        "schema": "onnxq-report/1",
        "model": original.path.name if original.path else original.graph.name,
        "target": ctx.target.name,
        "recipe": facts.recipe,
        "passes": facts.passes,
        "versions": dict(facts.versions),
        "data": dict(facts.data),
        "summary": {
            "outputs": [output_entry(name, sums, errors) for name, sums in errors.outputs.items()],
            "bytes_float": facts.bytes_float,
            "bytes_quantized": facts.bytes_quantized,
            "macs": total,
            "integer_macs_percent": 100.0 * integer / total if total else 0.0,
            "integer_nodes_percent": 100.0 * fused / max(len(layers) + len(kept), 1),
        },
        "layers": layers,
        "tensors": _tensors(errors, ctx),
        "arithmetic": None if errors.isolated is None else errors.isolated.arithmetic,
        "kept_float": kept,
        "declines": [
            {"pass": d.pass_name, "node": d.node, "reason": d.reason} for d in ctx.journal.declines
        ],
        "notes": list(facts.notes),
        "warnings": list(ctx.journal.warnings),
        "recommendation": [],
    }


def _tensors(errors: Errors, ctx: Context) -> dict[str, Any]:
    """Statistics of tensors, and why their ranges were chosen."""
    found = {} if errors.isolated is None else errors.isolated.tensors()
    for name, choice in ctx.choices.items():
        why = {"method": choice.method, "reason": choice.reason}
        entry = found.setdefault(name, {})
        entry["choice"] = {**why, "noise_to_signal": dict(choice.errors)}
    return found


def _absorbed(name: str, ctx: Context) -> bool:
    return any(name in planned.absorbs for planned in ctx.plan.nodes.values())


def _layer(
    node: gs.Node, planned: NodePlan, ctx: Context, errors: Errors, facts: Facts, cost: int | None
) -> dict[str, Any]:
    """The entry of one integer node, its error at the tensor that it hands on."""
    name = result_name(node, planned)
    sums = errors.tensors.get(name) or errors.outputs.get(name)
    kernel = facts.kernels.get(node.name)
    reason = f"planned as {planned.kernel}"
    if planned.absorbs:
        reason += f", absorbs {', '.join(planned.absorbs)}"
    spec = ctx.plan.tensors.get(name)
    if isinstance(spec, QuantSpec) and spec.through:
        reason += f", measured behind the {spec.through} that reads it"
    if kernel is None:
        reason += "; the runtime did not fuse it: it runs in float between Q and DQ"
    return {
        "node": node.name,
        "op_type": node.op,
        "precision": _precision(node, planned, ctx),
        "kernel": kernel,
        "macs": cost,
        **isolated_entry(node.name, name, errors.isolated),
        "cumulative_sqnr_db": None if sums is None else finite(sums.sqnr_db),
        "noise_to_signal": None if sums is None else finite(sums.noise_to_signal),
        "cosine": None if sums is None else finite(sums.cosine),
        "reason": reason,
        "result": name,
        "inputs": [
            t.name
            for t in (node.inputs[i] for i in planned.inputs)
            if t.name in ctx.qparams and not is_constant(t)
        ],
        "weights": next(
            (
                weight_entry(t.name, t.values, ctx.qparams[t.name])
                for t in (node.inputs[i] for i in planned.inputs)
                if is_constant(t) and t.name in ctx.qparams and t.values.ndim > 1
            ),
            None,
        ),
    }


def result_name(node: gs.Node, planned: NodePlan) -> str:
    """Name of the tensor that *node* hands on: behind the activations that it absorbs."""
    tensor = node.outputs[0]
    for _ in planned.absorbs:
        tensor = tensor.outputs[0].outputs[0]
    return str(tensor.name)


def _precision(node: gs.Node, planned: NodePlan, ctx: Context) -> str:
    """Formats of activations and weight, such as ``uint8 × int8``."""
    formats: list[str] = []
    for index in planned.inputs:
        qparams = ctx.qparams.get(node.inputs[index].name)
        spec = ctx.plan.tensors.get(node.inputs[index].name)
        if (
            qparams is not None
            and isinstance(spec, QuantSpec | Fixed)
            and qparams.dtype.name not in formats
        ):
            formats.append(qparams.dtype.name)
    return " × ".join(formats) or str(ctx.target.activations.dtype)


def output_entry(name: str, sums: ErrorSums, errors: Errors) -> dict[str, Any]:
    """The entry of the output *name* in the summary."""
    decided = errors.decided.get(name, 0)
    return {
        "name": name,
        "sqnr_db": finite(sums.sqnr_db),
        "cosine": finite(sums.cosine),
        "noise_to_signal": finite(sums.noise_to_signal),
        "max_error": sums.largest,
        "kl": errors.divergence[name] / decided if decided else None,
        "top1_agreement": errors.agree.get(name, 0) / decided if decided else None,
    }
