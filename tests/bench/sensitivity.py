"""What it costs to measure each layer's effect on the outputs, against a session for each layer.

Each layer is quantized alone, and each is left out alone: once on the graph with switches, once
with a model and a session made for every setting. Run by ``tests/bench/report.py``.
"""

from __future__ import annotations

import time
from typing import Any

#: Samples of both.
SAMPLES = 4


def compare(result: Any, samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds of both ways, and the largest difference between what they find (dB)."""
    from onnxq.api.finish import measured
    from onnxq.report.segments import _decided
    from onnxq.report.sensitivity import Sensitivity
    from onnxq.report.switches import SWITCHES, switchable
    from onnxq.runtime.session import Session
    from onnxq.runtime.workers import shares
    from onnxq.threads import in_order

    feeds = samples[:SAMPLES]
    found = measured(result.original, result.model, result.ctx, feeds, (), full=True).isolated
    groups = [g for g in found.groups if g.node in result.ctx.plan.nodes]
    macs = {e["node"]: e["macs"] or 0 for e in result.report["layers"]}

    start = time.perf_counter()
    sensitivity = Sensitivity(found.original, groups, found.values, feeds, macs)
    nodes = list(sensitivity.index)
    effects = sensitivity.effects(nodes, float("inf"), time.monotonic)
    ours = time.perf_counter() - start

    workers, threads = shares(())
    start = time.perf_counter()
    graph = switchable(found.original, groups, found.values)
    float_session = Session(found.original, threads=threads)
    expected = list(in_order(float_session.run, feeds, workers))
    differences = []
    for k, node in enumerate(nodes):
        effect = effects[node]
        for alone, outcome in ((True, effect.alone), (False, effect.without)):
            model = type(graph.model)()
            model.CopyFrom(graph.model)
            decided = []
            for position, part in enumerate(_groups_of(graph.model.graph.node)):
                decided += _decided(part, (position == k) == alone)
            del model.graph.node[:]
            model.graph.node.extend(decided)
            inputs = [i for i in model.graph.input if i.name != SWITCHES]
            del model.graph.input[:]
            model.graph.input.extend(inputs)
            session = Session(model, threads=threads, qdq=False)
            noise = _noise(expected, list(in_order(session.run, feeds, workers)))
            differences.append(abs(outcome.sqnr_db - noise))
    loop = time.perf_counter() - start
    return {
        "sensitivity_samples": len(feeds),
        "sensitivity_layers": len(nodes),
        "sensitivity_seconds": ours,
        "sensitivity_loop_seconds": loop,
        "loop_by_sensitivity": loop / ours,
        "sensitivity_largest_difference_db": max(differences),
    }


def _groups_of(nodes: Any) -> list[list[Any]]:
    """The nodes up to each switch, one list a switch; the rest goes to the last."""
    from onnxq.report.switches import is_switch

    found: list[list[Any]] = [[]]
    for node in nodes:
        if is_switch(node):
            found[-1].append(node)
            found.append([])
        else:
            found[-1].append(node)
    last = found.pop()
    found[-1] += last
    return found


def _noise(expected: list[Any], other: list[Any]) -> float:
    from onnxq.quant.measures import ErrorSums

    sums = ErrorSums()
    for real, quantized in zip(expected, other, strict=True):
        for name, value in real.items():
            sums.add(value, quantized[name])
    return sums.sqnr_db
