"""A model held against the rules of a runtime."""

from __future__ import annotations

from dataclasses import dataclass

from onnxq.graph import Model
from onnxq.report.coverage.outcome import named
from onnxq.report.lint.runtimes import Runtime
from onnxq.report.lint.view import Effect, View


@dataclass(frozen=True)
class Problem:
    """A node that breaks a rule.

    Attributes:
        node, op_type: it; empty where the whole model is meant.
        rule: the rule's name.
        effect: ``refused``: the runtime does not load the model. ``float``: the node runs in
            float. ``elsewhere``: on another processor.
        why: what is wrong.
        remedy: what to try.
    """

    node: str
    op_type: str
    rule: str
    effect: Effect
    why: str
    remedy: str


def lint(model: Model, runtime: Runtime) -> list[Problem]:
    """What of *model* breaks the rules of *runtime*: by rule, nodes in order."""
    view = View(named(model.to_proto()))
    kinds = {n.name: n.op_type for n in view.graph.nodes}
    return [
        Problem(node, kinds.get(node, ""), rule.name, rule.effect, why, rule.remedy)
        for rule in runtime.rules
        for node, why in rule.look(view)
    ]
