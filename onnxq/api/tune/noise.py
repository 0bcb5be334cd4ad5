"""What rounding in each layer does to the outputs, measured with one switch at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from onnxq.api.finish import measured
from onnxq.api.result import Result
from onnxq.api.tune.times import layer_times
from onnxq.graph import Model, is_constant
from onnxq.report.sensitivity import Feed, Sensitivity
from onnxq.report.spread import Spread, enough
from onnxq.runtime.providers import Provider
from onnxq.targets import Role


@dataclass(frozen=True)
class LayerNoise:
    """A layer of a quantized model, quantized alone.

    Attributes:
        node, op_type: which.
        weights, inputs, output: noise to signal at the outputs that the rounding of its weights,
            of what it reads and of what it hands on makes.
        reads, hands_on: tensors that are rounded there; of what moved codes, the tensors where
            they were made.
        macs: multiply-accumulates.
        elements: values that it hands on.
        stored: number of its weights; 0 for a layer without.
        seconds: predicted for it in float and on integers; 0 where there are no costs.
        conversion: predicted seconds to convert what it hands on to codes and back.
    """

    node: str
    op_type: str
    weights: float
    inputs: float
    output: float
    reads: tuple[str, ...]
    hands_on: str
    macs: float
    elements: int
    stored: int
    seconds: tuple[float, float] = (0.0, 0.0)
    conversion: float = 0.0


def layer_noise(
    result: Result, feeds: Iterable[Feed], providers: Sequence[Provider]
) -> list[LayerNoise]:
    """The layers of *result*, in the graph's order; without those that only move codes.

    The effect of a layer on the outputs is measured with it alone quantized, and divided by where
    its own noise comes from: what follows treats all of its noise alike.
    """
    kept = Spread()
    errors = measured(
        result.original, result.model, result.ctx, kept.watch(feeds), providers, full=True
    )
    isolated = errors.isolated
    layers = {e["node"]: e for e in result.report["layers"]}
    if isolated is None or not isolated.groups:
        return []
    groups = [g for g in isolated.groups if g.node in layers]
    total = float(result.report["summary"]["macs"])
    samples = kept.take(enough(len(groups), total / 2, kept.most))
    macs = {node: float(e["macs"] or 0) for node, e in layers.items()}
    whole = Sensitivity(
        isolated.original, groups, isolated.values, samples, macs, providers=providers
    )
    exact = {g.node for g in isolated.exact}
    made = _made(result, exact)
    noisy = [g for g in whole.groups if g.node not in exact]
    outcomes = whole.outcomes(whole.only(g.node) for g in noisy)
    stored = _stored(result.original, result)
    shapes, times = result.ctx.facts, layer_times(result)
    found = []
    for group, outcome in zip(noisy, outcomes, strict=True):
        share = isolated.share(group.node) or {}
        fact = shapes.get(group.result)
        dims = [d or 1 for d in fact.shape] if fact is not None and fact.shape else [1]
        found.append(
            LayerNoise(
                node=group.node,
                op_type=group.op_type,
                weights=outcome.noise * share.get("weights", 0.0),
                inputs=outcome.noise * share.get("inputs", 0.0),
                output=outcome.noise * share.get("output", 0.0),
                reads=tuple(
                    dict.fromkeys(
                        m for s in group.sources if s.grid for m in made.get(s.tensor, (s.tensor,))
                    )
                ),
                hands_on="" if group.grid is None else group.result,
                macs=macs[group.node],
                elements=prod(dims),
                stored=stored.get(group.node, 0),
                seconds=times.get(group.node, ((0.0, 0.0), 0.0))[0],
                conversion=times.get(group.node, ((0.0, 0.0), 0.0))[1],
            )
        )
    return found


def _made(result: Result, exact: Collection[str]) -> dict[str, tuple[str, ...]]:
    """By tensor that codes are moved to, the tensors where they were made."""
    found: dict[str, tuple[str, ...]] = {}
    rules = result.ctx.target.rules
    for node in result.original.graph.nodes:
        moves = node.name in exact or (
            node.name in result.ctx.plan.nodes and rules[node.op].role is Role.MOVE
        )
        if not moves:
            continue
        rule = rules.get(node.op)  # without one, as for Pad, only the first input has values
        read = (0,) if rule is None else rule.activation_inputs(len(node.inputs))
        names = [str(node.inputs[i].name) for i in read if not is_constant(node.inputs[i])]
        made = tuple(dict.fromkeys(m for name in names for m in found.get(name, (name,))))
        for out in node.outputs:
            found[str(out.name)] = made
    return found


def _stored(original: Model, result: Result) -> Mapping[str, int]:
    """By layer, the number of its weights."""
    found = {}
    rules = result.ctx.target.rules
    for node in original.nodes():
        rule = rules.get(node.op)
        if rule is None or rule.role is not Role.COMPUTE or rule.weight is None:
            continue
        if rule.weight < len(node.inputs) and is_constant(node.inputs[rule.weight]):
            found[node.name] = prod(node.inputs[rule.weight].shape)
    return found
