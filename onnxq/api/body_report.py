"""What became of the bodies of If, Loop and Scan, in the report on the model around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxq.api.bodies import Inner
from onnxq.api.keep_scales import NOTES
from onnxq.report.coverage import Coverage
from onnxq.report.entries import rank


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
        report["notes"] += [f"{body.where}: {n}" for n in own["notes"] if n.startswith(NOTES)]
        said = {*report["warnings"]}
        report["warnings"] += [f"{body.where}: {w}" for w in own["warnings"] if w not in said]
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
