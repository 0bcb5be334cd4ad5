"""How much of a model really runs on integers, and what would make it more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import onnx
import onnx.inliner

from onnxq.calibrate.sources import Feed
from onnxq.graph import Model
from onnxq.graph.bodies import subgraphs
from onnxq.report.coverage.conversions import Reader
from onnxq.report.coverage.costs import computes_inside, costs, random_feed
from onnxq.report.coverage.hazards import HAZARDS
from onnxq.report.coverage.outcome import CONVERSIONS, Outcome, became, named, outcomes
from onnxq.report.coverage.qdq_groups import QdqGroup, find_qdq_groups
from onnxq.report.coverage.rules import RULES, Rule
from onnxq.report.coverage.saturation import Exposure, exposed
from onnxq.report.coverage.scopes import Scope, count_inner, inner_scopes
from onnxq.runtime.coverage import kernels_in, optimized
from onnxq.runtime.providers import CPU, Provider

SCHEMA = "onnxq-check/1"


@dataclass(frozen=True)
class Finding:
    """A rule that a group breaks, or a hazard.

    Attributes:
        rule: its name; ``unknown`` where no rule explains it.
        why: what is wrong.
        remedy: what to try.
    """

    rule: str
    why: str
    remedy: str


@dataclass(frozen=True)
class Hazard:
    """What a fused kernel computes otherwise than the graph says.

    Attributes:
        node: the node.
        finding: what is wrong.
        body: as in ``Outcome``.
    """

    node: str
    finding: Finding
    body: str = ""


UNKNOWN = Finding("unknown", "it did not fuse, for a reason that onnxq does not know", "")


@dataclass(frozen=True)
class Unfused:
    """A quantized group that is no integer kernel.

    Attributes:
        node, op_type, runs_as, macs, body: as in ``Outcome``.
        findings: the rules that it breaks; ``UNKNOWN`` alone where none is known.
    """

    node: str
    op_type: str
    runs_as: str
    macs: int | None
    findings: tuple[Finding, ...]
    body: str = ""


@dataclass(frozen=True)
class Coverage:
    """What runs as what.

    Attributes:
        kernels: by node, the integer kernel that it became, see ``runtime.coverage.kernels``.
        nodes: every node of the model, in order: those of the main graph, then those of bodies.
        unfused: quantized groups that are no integer kernels.
        hazards: what fused kernels compute otherwise than the graph says.
        exposed: layers that may saturate on CPUs without VNNI.
        conversions: QuantizeLinear and DequantizeLinear nodes that are left.
        inner: how many nodes are in bodies of If, Loop and Scan.
    """

    kernels: Mapping[str, str]
    nodes: tuple[Outcome, ...]
    unfused: tuple[Unfused, ...]
    hazards: tuple[Hazard, ...]
    exposed: tuple[Exposure, ...]
    conversions: int
    inner: int = 0

    @property
    def work(self) -> list[Outcome]:
        """Nodes that do something in a run, conversions and what only runs bodies aside."""
        return [n for n in self.nodes if n.kind in ("integer", "around", "float")]

    @property
    def nodes_percent(self) -> float:
        """Percentage of nodes that run on integers."""
        return _share([1 for n in self.work if n.kind == "integer"], [1 for _ in self.work])

    @property
    def macs_percent(self) -> float | None:
        """Percentage of multiply-accumulates on integers; None where they are not known.

        Layers of a body that did not run, so that they are not known of these, do not count.
        """
        if any(n.macs is None for n in self.work if not n.body):
            return None
        total = [n.macs or 0 for n in self.work]
        if not sum(total):
            return None
        return _share([n.macs or 0 for n in self.work if n.kind == "integer"], total)

    def summary(self) -> dict[str, Any]:
        """Totals, for JSON."""
        kinds = {k: [n for n in self.work if n.kind == k] for k in ("integer", "around", "float")}
        return {
            "nodes": len(self.work),
            **{f"{kind}_nodes": len(nodes) for kind, nodes in kinds.items()},
            "macs": sum(n.macs or 0 for n in self.work),
            **{f"{k}_macs": sum(n.macs or 0 for n in nodes) for k, nodes in kinds.items()},
            "unknown_macs": sum(n.macs is None for n in self.work),
            "integer_nodes_percent": self.nodes_percent,
            "integer_macs_percent": self.macs_percent,
            "conversions": self.conversions,
            "inner_nodes": self.inner,
            "unfused": len(self.unfused),
            "hazards": len(self.hazards),
            "exposed": len(self.exposed),
        }

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "summary": self.summary(),
            "nodes": [asdict(n) for n in self.nodes],
            "unfused": [asdict(u) for u in self.unfused],
            "hazards": [
                {"node": h.node, "body": h.body, **asdict(h.finding)} for h in self.hazards
            ],
            "saturation": [asdict(e) for e in self.exposed],
        }


def check(
    model: Model,
    providers: Sequence[Provider] = (),
    *,
    int8: bool | None = None,
    feed: Feed | None = None,
) -> Coverage:
    """Load *model* with full optimization and look at what ONNX Runtime runs.

    *int8* stands for another CPU: whether it has kernels for int8 activations (Arm) or not (x86).
    Compute is counted on *feed*, by default on random numbers, where sizes do not follow from the
    file.

    Raises:
        UnsupportedModelError: ONNX Runtime cannot load the model.
    """
    proto = named(_inlined(model.to_proto()))
    run, macs = optimized(proto, providers, int8=int8), costs(proto, feed)
    return cover(proto, run, macs, providers, int8=int8, feed=feed)


def cover(
    model: onnx.ModelProto,
    run: onnx.ModelProto,
    macs: Mapping[str, int | None],
    providers: Sequence[Provider] = (),
    *,
    int8: bool | None = None,
    feed: Feed | None = None,
    inside: bool = True,
) -> Coverage:
    """What became of *model*, whose nodes all have names of their own, in the graph *run*.

    *macs* are the multiply-accumulates of its nodes by name. Those in bodies are counted on *feed*,
    by default on random numbers, where shapes do not follow from the file; they are left out where
    not *inside*.
    """
    main = Scope("", model, run, macs)
    if inside and feed is None and computes_inside(model.graph):
        feed = random_feed(model)
    bodies = inner_scopes(main, feed) if inside else ()
    parts = [_cover(s, providers, int8) for s in (main, *bodies)]
    return Coverage(
        {name: kernel for part in reversed(parts) for name, kernel in part.kernels.items()},
        tuple(n for part in parts for n in part.nodes),
        tuple(u for part in parts for u in part.unfused),
        tuple(h for part in parts for h in part.hazards),
        tuple(e for part in parts for e in part.exposed),
        _conversions(run.graph),
        count_inner(model.graph),
    )


def _cover(scope: Scope, providers: Sequence[Provider], int8: bool | None) -> Coverage:
    """What became of one graph, without the bodies in it."""
    model, run, where = scope.model, scope.run, scope.where
    reader = Reader(model, _arm() if int8 is None else int8)
    groups = list(find_qdq_groups(became(model.graph, run.graph), reader))
    around = {g.node.name for g in groups}
    nodes = outcomes(reader.graph, model.graph, run.graph, around, scope.macs, where)
    by_name = {n.node: n for n in nodes}
    fused = [g for g in groups if by_name[g.node.name].kind == "integer"]
    loose = [g for g in groups if by_name[g.node.name].kind == "around"]
    known = all(name == CPU[0] for name, _ in providers)
    return Coverage(
        kernels_in(model.graph, run.graph),
        tuple(nodes),
        tuple(_unfused(g, by_name[g.node.name], known) for g in loose),
        tuple(Hazard(g.node.name, f, where) for g in fused for f in _findings(g, HAZARDS)),
        tuple(exposed(model.graph, run.graph, where)),
        0,
    )


def _conversions(graph: onnx.GraphProto) -> int:
    """How many nodes of *graph* and of the graphs in it turn floats into codes or back."""
    inner = (_conversions(g) for node in graph.node for g in subgraphs(node))
    return sum(n.op_type in CONVERSIONS for n in graph.node) + sum(inner)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """*model* with its functions inlined, as ONNX Runtime does; their nodes' names say whose."""
    if not model.functions:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for function in copy.functions:
        for node in function.node:
            node.name = f"{function.name}/{node.name or f'{node.op_type}:{node.output[0]}'}"
    return onnx.inliner.inline_local_functions(copy)


def _unfused(group: QdqGroup, outcome: Outcome, known: bool) -> Unfused:
    """Why *group* is no kernel; the rules are those of the CPU: not *known* for other providers."""
    findings = _findings(group, RULES) if known else ()
    if findings and findings[0].rule == "operator":
        findings = findings[:1]  # without a kernel, no other rule matters
    return Unfused(
        outcome.node, outcome.op_type, outcome.runs_as, outcome.macs, findings or (UNKNOWN,),
        outcome.body,
    )  # fmt: skip


def _findings(group: QdqGroup, rules: Sequence[Rule]) -> tuple[Finding, ...]:
    found = ((rule, rule.broken(group)) for rule in rules)
    return tuple(Finding(rule.name, why, rule.remedy) for rule, why in found if why)


def _share(part: list[int], whole: list[int]) -> float:
    return 100.0 * sum(part) / sum(whole) if sum(whole) else 0.0


def _arm() -> bool:
    import platform

    return platform.machine().lower() in ("arm64", "aarch64")
