"""Static quantization of what lies in the bodies of If, Loop and Scan.

A body is quantized as a model of its own, with the same recipe, on what it reads while the model
around it runs on the samples. What it reads from around it, and hands back, stays float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from onnx import ModelProto, ValueInfoProto

from onnxq.api.calibration import Calibration
from onnxq.api.result import Result
from onnxq.api.rounds import Emitted
from onnxq.calibrate.bodies import body_feeds, typed
from onnxq.calibrate.sources import Feed
from onnxq.errors import OnnxqError
from onnxq.graph.bodies import CONTROL, Body, bodies, node_names, put_back
from onnxq.passes.canonical.remove_unused import RemoveUnused
from onnxq.passes.emit.io_dtype import IoDtype
from onnxq.passes.plan.exclude_nodes import ExcludeNodes
from onnxq.passes.plan.override_tensors import OverrideTensors
from onnxq.pipeline import Recipe
from onnxq.report.coverage import Coverage
from onnxq.report.entries import rank
from onnxq.runtime.providers import Provider

#: About how many steps of a Loop or Scan calibrate its body; more make ranges no better.
STEPS = 512
#: Options of a call that are those of its bodies, too; the recipe has the others.
PASSED_ON = (
    "providers", "report_detail", "max_opset", "runtime_version", "keep_unfused", "seed",
)  # fmt: skip
_UNSEEN = "no sample reaches it: its weights alone are stored as integers"
_UNKNOWN = "no sample reaches it, and without one the ranks of what it reads are not known"
_OUTSIDE = (ExcludeNodes, OverrideTensors, IoDtype)


@dataclass(frozen=True)
class Inner:
    """A body after quantization.

    Attributes:
        body: the body as it was.
        result: what became of it; None where it stayed as it was.
        reason: why it stayed, or why its weights alone were quantized.
        steps: on how many feeds it was calibrated.
        names: names of its nodes and tensors in the model around it, where they are others.
    """

    body: Body
    result: Result | None
    reason: str
    steps: int
    names: Mapping[str, str] = field(default_factory=dict)


def quantize_bodies(
    made: Emitted,
    run: Calibration,
    steps: Recipe,
    quantize: Callable[..., Result],
    providers: Sequence[Provider] = (),
) -> list[Inner]:
    """Quantize the bodies in the main graph of *made*, and put them into its models, in place.

    *quantize* is ``onnxq.quantize`` with the options of the call; *steps* is its recipe.
    """
    if not any(node.op in CONTROL and node.name for node in made.original.graph.nodes):
        return []
    inside = Recipe(tuple(p for p in steps.passes if not isinstance(p, _OUTSIDE)), steps.name)
    original = made.original.to_proto()
    done = []
    for body in bodies(original):
        if body.node:
            done.append(_quantized(body, original, made, run, inside, quantize, providers))
    for model in (made.work,) if made.qdq is made.work else (made.work, made.qdq):
        proto = model.to_proto()
        there = {n for node in proto.graph.node for n in node.output}
        there |= {v.name for v in (*proto.graph.input, *proto.graph.initializer)}
        for i, inner in enumerate(done):
            if inner.result is not None and there.issuperset(inner.body.captured):
                names = put_back(proto, inner.body, inner.result.model.to_proto())
                if model is made.work:
                    done[i] = replace(inner, names=names)
        model.replace(proto)
        RemoveUnused().run(model, made.ctx)
    return done


def _quantized(
    body: Body,
    around: ModelProto,
    made: Emitted,
    run: Calibration,
    recipe: Recipe,
    quantize: Callable[..., Result],
    providers: Sequence[Provider],
) -> Inner:
    """*body*, of the model *around*, quantized on the samples of *run*."""
    outside = made.ctx.plan.excluded.get(body.node)
    if outside is not None:
        return Inner(body, None, outside, 0)
    both = [b for b in bodies(around) if b.node == body.node]
    own = next(b for b in both if b.attribute == body.attribute)
    most = max(2, STEPS // max(run.split.calibration_samples, 1))

    def feeds(samples: Iterable[Feed]) -> Iterator[Feed]:
        return (feed for b, feed in body_feeds(around, both, samples, most, providers) if b is own)

    names = set(node_names(body.model.graph))
    excluded = tuple(n for n in made.ctx.plan.excluded if n in names)
    try:
        seen = feeds(run.split)
        first = next(seen, None)
        if first is None:
            unseen = typed(body, around, None)
            if not all(_has_shape(v) for v in (*unseen.graph.input, *unseen.graph.output)):
                return Inner(body, None, _UNKNOWN, 0)
            result = quantize(unseen, mode="weights", exclude=excluded)
            return Inner(body, result, _UNSEEN, 0)
        held = list(islice(feeds(run.report_feeds()), STEPS))
        result = quantize(
            typed(body, around, first), recipe=recipe, data=chain([first], seen),
            report_data=held or None, exclude=excluded,
        )  # fmt: skip
    except OnnxqError as error:
        return Inner(body, None, f"its body stays in float: {error.message}", 0)
    if result.model.opset != made.work.opset:
        return Inner(body, None, "its body needs another opset than the model around it", 0)
    samples = int(result.report["data"]["calibration_samples"])
    return Inner(body, result if result.report["layers"] else None, "", samples)


def _has_shape(value: ValueInfoProto) -> bool:
    kind = value.type
    return bool(kind.WhichOneof("value") != "tensor_type" or kind.tensor_type.HasField("shape"))


def add_bodies(report: dict[str, Any], found: Sequence[Inner], coverage: Coverage) -> set[str]:
    """Put what became of bodies into *report*: their layers among the others, and shares.

    *coverage* is that of the whole model. Multiply-accumulates are those of one step of each body.
    Nodes in bodies that were to run on integers are returned.
    """
    planned: set[str] = set()
    if not found:
        return planned
    summary, nodes = report["summary"], {i.body.node for i in found}
    report["kept_float"] = [k for k in report["kept_float"] if k["node"] not in nodes]
    summary["bodies"] = []
    for inner in found:
        body, own = inner.body, inner.result.report if inner.result else None
        summary["bodies"].append({
            "node": body.node, "op_type": body.op, "body": body.attribute, "steps": inner.steps,
            "layers": len(own["layers"]) if own else 0, "reason": inner.reason,
        })  # fmt: skip
        if own is None:
            reason = inner.reason or "nothing in its body was quantized"
            report["kept_float"].append(
                {"node": body.node, "op_type": body.op, "reason": f"{body.attribute}: {reason}"}
            )
            continue
        placed = {
            key: [_placed(entry, inner) for entry in own[key]]
            for key in ("layers", "kept_float", "declines")
        }
        for entry in (e for e in placed["layers"] if e["kernel"]):
            planned.add(entry["node"])
            entry["kernel"] = coverage.kernels.get(entry["node"])  # in the model around it
        for key, entries in placed.items():
            report[key] += entries
        report["tensors"] = {**own["tensors"], **report["tensors"]}
        report["warnings"] += [f"{body.where}: {w}" for w in own["warnings"]]
    report["layers"].sort(key=rank)
    facts = coverage.summary()
    summary["macs"] = facts["macs"]
    summary["integer_macs_percent"] = facts["integer_macs_percent"] or 0.0
    fused = sum(1 for e in report["layers"] if e["kernel"])
    count = len(report["layers"]) + len(report["kept_float"])
    summary["integer_nodes_percent"] = 100.0 * fused / max(count, 1)
    return planned


def _placed(entry: Mapping[str, Any], inner: Inner) -> dict[str, Any]:
    """*entry* of the report on a body, as one of the report on the model around it."""
    where = f"{entry['body']} in {inner.body.where}" if "body" in entry else inner.body.where
    return {**entry, "node": inner.names.get(entry["node"], entry["node"]), "body": where}
