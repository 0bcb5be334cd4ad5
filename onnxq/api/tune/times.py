"""What layers take in float and on integers, predicted from what kernels cost."""

from __future__ import annotations

from onnxq.api.result import Result
from onnxq.pipeline.latency import work
from onnxq.targets.costs import Cost

_CONVERSIONS = 4
"""Rank of the tensors whose order in memory changes where they are converted."""


def layer_times(result: Result) -> dict[str, tuple[tuple[float, float], float]]:
    """By planned node: its seconds in float and on integers, and those to convert what it writes.

    Nothing where the target of *result* has no costs.
    """
    costs, ctx = result.ctx.target.costs, result.ctx
    if costs is None:
        return {}
    nodes = {n.name: n for n in result.original.graph.nodes}
    found = {}
    for name, known in work(result.original, ctx).items():
        tables = costs.floating, costs.integer
        both = [t.get(known.kind, Cost()).seconds(known.elements, known.macs) for t in tables]
        count = known.elements
        turned = ctx.rank(nodes[name].outputs[0]) == _CONVERSIONS
        spent = costs.quantize.seconds(count) + costs.dequantize.seconds(count)
        if turned:
            spent += 2 * costs.layout.seconds(count)
        found[name] = ((both[0], both[1]), spent)
    return found
