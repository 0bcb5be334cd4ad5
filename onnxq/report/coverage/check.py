"""How much of a model really runs on integers, and what would make it more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import onnx

from onnxq.graph import Model
from onnxq.graph.bodies import subgraphs
from onnxq.report.coverage.conversions import Reader
from onnxq.report.coverage.costs import costs
from onnxq.report.coverage.hazards import HAZARDS
from onnxq.report.coverage.outcome import CONVERSIONS, Outcome, became, named, outcomes
from onnxq.report.coverage.qdq_groups import QdqGroup, find_qdq_groups
from onnxq.report.coverage.rules import RULES, Rule
from onnxq.report.coverage.saturation import Exposure, exposed
from onnxq.runtime.coverage import optimized
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


UNKNOWN = Finding("unknown", "it did not fuse, for a reason that onnxq does not know", "")


@dataclass(frozen=True)
class Unfused:
    """A quantized group that is no integer kernel.

    Attributes:
        node, op_type, runs_as, macs: as in ``Outcome``.
        findings: the rules that it breaks; ``UNKNOWN`` alone where none is known.
    """

    node: str
    op_type: str
    runs_as: str
    macs: int | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Coverage:
    """What runs as what.

    Attributes:
        nodes: every node of the model, in order.
        unfused: quantized groups that are no integer kernels.
        hazards: by node, what a fused kernel computes otherwise than the graph says.
        exposed: layers that may saturate on CPUs without VNNI.
        conversions: QuantizeLinear and DequantizeLinear nodes that are left.
        inner: nodes in sub-graphs (If, Loop, Scan), which are not looked at.
    """

    nodes: tuple[Outcome, ...]
    unfused: tuple[Unfused, ...]
    hazards: tuple[tuple[str, Finding], ...]
    exposed: tuple[Exposure, ...]
    conversions: int
    inner: int = 0

    @property
    def work(self) -> list[Outcome]:
        """Nodes that do something in a run, conversions aside."""
        return [n for n in self.nodes if n.kind in ("integer", "around", "float")]

    @property
    def nodes_percent(self) -> float:
        """Percentage of nodes that run on integers."""
        return _share([1 for n in self.work if n.kind == "integer"], [1 for _ in self.work])

    @property
    def macs_percent(self) -> float | None:
        """Percentage of multiply-accumulates on integers; None where they are not known."""
        if any(n.macs is None for n in self.work):
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
            "hazards": [{"node": node, **asdict(f)} for node, f in self.hazards],
            "saturation": [asdict(e) for e in self.exposed],
        }


def check(
    model: Model, providers: Sequence[Provider] = (), *, int8: bool | None = None
) -> Coverage:
    """Load *model* with full optimization and look at what ONNX Runtime runs.

    *int8* stands for another CPU: whether it has kernels for int8 activations (Arm) or not (x86).

    Raises:
        UnsupportedModelError: ONNX Runtime cannot load the model.
    """
    proto = named(model.to_proto())
    return cover(proto, optimized(proto, providers, int8=int8), costs(proto), providers, int8=int8)


def cover(
    model: onnx.ModelProto,
    run: onnx.ModelProto,
    macs: Mapping[str, int | None],
    providers: Sequence[Provider] = (),
    *,
    int8: bool | None = None,
) -> Coverage:
    """What became of *model*, whose nodes all have names of their own, in the graph *run*.

    *macs* are the multiply-accumulates of its nodes by name.
    """
    reader = Reader(model, _arm() if int8 is None else int8)
    groups = list(find_qdq_groups(became(model.graph, run.graph), reader))
    around = {g.node.name for g in groups}
    nodes = outcomes(reader.graph, model.graph, run.graph, around, macs)
    by_name = {n.node: n for n in nodes}
    fused = [g for g in groups if by_name[g.node.name].kind == "integer"]
    loose = [g for g in groups if by_name[g.node.name].kind == "around"]
    known = all(name == CPU[0] for name, _ in providers)
    return Coverage(
        tuple(nodes),
        tuple(_unfused(g, by_name[g.node.name], known) for g in loose),
        tuple((g.node.name, f) for g in fused for f in _findings(g, HAZARDS)),
        tuple(exposed(model.graph, run.graph)),
        sum(n.op_type in CONVERSIONS for n in run.graph.node),
        sum(map(_inner, model.graph.node)),
    )


def _unfused(group: QdqGroup, outcome: Outcome, known: bool) -> Unfused:
    """Why *group* is no kernel; the rules are those of the CPU: not *known* for other providers."""
    findings = _findings(group, RULES) if known else ()
    if findings and findings[0].rule == "operator":
        findings = findings[:1]  # without a kernel, no other rule matters
    return Unfused(
        outcome.node, outcome.op_type, outcome.runs_as, outcome.macs, findings or (UNKNOWN,)
    )


def _findings(group: QdqGroup, rules: Sequence[Rule]) -> tuple[Finding, ...]:
    found = ((rule, rule.broken(group)) for rule in rules)
    return tuple(Finding(rule.name, why, rule.remedy) for rule, why in found if why)


def _inner(node: onnx.NodeProto) -> int:
    """How many nodes the sub-graphs of *node* have."""
    return sum(1 + _inner(inner) for graph in subgraphs(node) for inner in graph.node)


def _share(part: list[int], whole: list[int]) -> float:
    return 100.0 * sum(part) / sum(whole) if sum(whole) else 0.0


def _arm() -> bool:
    import platform

    return platform.machine().lower() in ("arm64", "aarch64")
