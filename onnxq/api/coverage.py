"""What the runtime makes of the result, and which nodes go back to float because of it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from onnxq.calibrate.sources import Feed
from onnxq.graph import Model
from onnxq.pipeline import Context
from onnxq.pipeline.macs import macs
from onnxq.report.coverage import Coverage, cover
from onnxq.report.coverage.cpus import is_cpu, kernels_for_int8
from onnxq.report.coverage.outcome import named
from onnxq.report.units import percent
from onnxq.runtime.coverage import optimized
from onnxq.runtime.providers import Provider

#: How often nodes are taken back: one that goes can leave a neighbour without a partner.
ROUNDS = 4
_UNFUSED = "quantized, it did not fuse into an integer kernel"


@dataclass(frozen=True)
class Look:
    """The graph that ONNX Runtime runs for the result.

    Attributes:
        kernels: the integer kernel that each node became, by name.
        coverage: what became of all nodes.
    """

    kernels: Mapping[str, str]
    coverage: Coverage


def look(
    work: Model,
    original: Model,
    ctx: Context,
    providers: Sequence[Provider],
    *,
    inside: bool = True,
    feed: Feed | None = None,
) -> Look:
    """Load *work* as it will be deployed; costs are those of *original*, before Q/DQ.

    Where *inside*, at what is in bodies too; *feed* is a sample to count their compute on.

    Targets that are CPUs are looked at as such, whatever *providers* calibrated. Hardware that has
    integers alone computes every node with them, whatever ONNX Runtime does.

    Raises:
        UnsupportedModelError: ONNX Runtime cannot load the model.
    """
    proto = named(work.to_proto())
    cpu = is_cpu(ctx.target)
    int8, providers = (kernels_for_int8(ctx.target), ()) if cpu else (None, providers)
    run = optimized(proto, providers, int8=int8)
    costs = {n.name: macs(n, ctx) for n in original.nodes() if n.outputs}
    found = cover(proto, run, costs, providers, int8=int8, feed=feed, inside=inside)
    if ctx.target.integer is None or not ctx.plan.nodes:
        return Look(found.kernels, found)
    rules = ctx.target.rules
    kernels = {n.name: rules[n.op].kernel for n in original.nodes() if n.name in ctx.plan.nodes}
    return Look(kernels, _with_integers(found, kernels, ctx))


def _with_integers(found: Coverage, kernels: Mapping[str, str], ctx: Context) -> Coverage:
    """*found* for hardware without floating point: what is not left to the host is integers."""
    host = {*ctx.plan.kept_float, *ctx.plan.excluded}
    nodes = [
        replace(n, kind="integer", runs_as=kernels.get(n.node, n.op_type))
        if n.kind in ("around", "float") and n.node not in host and not n.body
        else n
        for n in found.nodes
    ]
    return replace(found, nodes=tuple(nodes), unfused=(), hazards=(), exposed=())


def unfused(found: Look, ctx: Context) -> dict[str, str]:
    """Planned nodes that are no integer kernels, each with the reason."""
    return loose_of(found, ctx.plan.nodes)


def loose_of(found: Look, planned: Collection[str]) -> dict[str, str]:
    """Those of the nodes *planned* that are no integer kernels, each with the reason."""
    reasons = {u.node: u.findings[0].why for u in found.coverage.unfused}
    return {
        n.node: reasons.get(n.node, "there is no integer kernel in the optimized graph")
        for n in found.coverage.nodes
        if n.node in planned and n.kind in ("around", "float")
    }


def taken_back(found: Look, ctx: Context) -> dict[str, str]:
    """Those of ``unfused`` that are better off in float, with the reason for the report.

    Other formats than 8 bits have no kernels on the CPU; who asks for them has reasons, and the
    nodes stay. Nothing is taken back for targets that are no CPU of ONNX Runtime.
    """
    if not is_cpu(ctx.target):
        return {}
    asked = {
        u.node for u in found.coverage.unfused if any(f.rule == "bits" for f in u.findings)
    }  # fmt: skip
    return {
        node: f"{_UNFUSED}: {why}" for node, why in unfused(found, ctx).items() if node not in asked
    }


def warn_of_taken_back(ctx: Context, nodes: Mapping[str, str]) -> None:
    """Warn of the *nodes* that were taken back, with the most frequent reason."""
    if nodes:
        few = ", ".join([*nodes][:5]) + (" …" if len(nodes) > 5 else "")
        count = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
        reason, times = Counter(nodes.values()).most_common(1)[0]
        why = reason.removeprefix(f"{_UNFUSED}: ") + (f", {times} times" if times > 1 else "")
        ctx.journal.warn(
            f"{count} went back to float, because ONNX Runtime makes no integer kernel there: "
            f"{few} ({why}); --keep-unfused leaves them quantized"
        )


def add_coverage(
    report: dict[str, Any], found: Look, ctx: Context, inside: Collection[str] = ()
) -> None:
    """Put *found* into *report*: counts into its summary, and what did not fuse or may saturate.

    *inside* are the planned nodes in bodies. Nodes that were kept in float are not among those that
    did not fuse, although codes may surround them.
    """
    loose = loose_of(found, {*ctx.plan.nodes, *inside})
    facts = found.coverage.summary()
    for share in ("integer_nodes_percent", "integer_macs_percent", "macs"):
        del facts[share]  # the summary has them
    reasons = {**ctx.plan.kept_float, **{k["node"]: k["reason"] for k in report["kept_float"]}}
    facts |= {"unfused": len(loose), "float_reasons": _reasons(found, loose, reasons)}
    report["summary"]["coverage"] = facts
    report["unfused"] = [asdict(u) for u in found.coverage.unfused if u.node in loose]
    report["hazards"] = found.coverage.as_dict()["hazards"]
    report["saturation"] = [asdict(e) for e in found.coverage.exposed]


def notes(found: Look, ctx: Context) -> list[str]:
    """What is worth knowing of how other hardware than the target runs the result.

    Weights whose codes come from training are not restricted to what is safe on other CPUs.
    """
    integer = ctx.target.integer
    if integer is not None:
        how = integer.rounding.value.replace("-", " ")
        return [
            f"errors are those of {ctx.target.name}'s integers, rounded {how}; ONNX Runtime rounds "
            "ties to even, and what it makes of this file can differ: 'onnxq verify' says how "
            "much, and a model made with --format simulate computes the integers there"
        ]
    count = len(found.coverage.exposed)
    if not count:
        return []
    what = "1 layer" if count == 1 else f"{count} layers"
    if ctx.trained.weights:
        text = (
            f"{what} may saturate on x86 without VNNI, for codes of weights are kept from "
            "training: train with activations of 7 bits, or run on VNNI or Arm"
        )
        if ctx.target.weights.pair_sum_limit is None:
            return [text]
        ctx.journal.warn(text)
        return []
    return [
        f"{what} may saturate, and so answer differently, on x86 without VNNI: --target x86 "
        "is safe on every x86"
    ]


def note(work: Model, found: Look, runtime: str) -> None:
    """Write into the metadata of *work* how much of it runs on integers, and in what."""
    share = found.coverage.macs_percent
    facts = {
        "integer_macs_percent": None if share is None else round(share, 2),
        "integer_nodes_percent": round(found.coverage.nodes_percent, 2),
        "runtime": runtime,
    }
    work.metadata["onnxq.coverage"] = json.dumps(facts, sort_keys=True)


def _reasons(
    found: Look, loose: Mapping[str, str], kept: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Why multiply-accumulates run in float, and how many percent of them: most first."""
    parts: dict[str, int] = defaultdict(int)
    for node in found.coverage.nodes:
        if node.kind in ("around", "float") and node.macs:
            why = f"did not fuse: {loose[node.node]}" if node.node in loose else ""
            parts[why or kept.get(node.node, "not planned")] += node.macs
    total = sum(n.macs or 0 for n in found.coverage.work)
    order = sorted(parts.items(), key=lambda part: -part[1])
    return [{"reason": why, "macs_percent": 100.0 * count / total} for why, count in order]


def why_in_float(report: Mapping[str, Any]) -> str:
    """The three largest reasons of *report* for which multiply-accumulates run in float."""
    reasons = report["summary"]["coverage"]["float_reasons"][:3]
    return "; ".join(f"{percent(r['macs_percent'])}: {r['reason']}" for r in reasons)
