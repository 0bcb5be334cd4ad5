"""Costs of this machine's kernels, measured: networks with every kind of them, profiled."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import onnx

from onnxq.api.costs.fit import Observation, fit
from onnxq.api.costs.network import IMAGE, network
from onnxq.graph import Model
from onnxq.pipeline import Recipe
from onnxq.pipeline.latency import Work, work
from onnxq.pipeline.progress import Progress, Silent
from onnxq.runtime.coverage import optimized
from onnxq.runtime.origins import origins
from onnxq.runtime.profile import durations
from onnxq.targets import Target
from onnxq.targets.costs import Cost, Costs

SIZES = ((16, 56), (32, 28), (48, 40), (64, 28), (128, 14), (256, 7))
"""Channels and sides of images: from many pixels and few channels to the opposite."""

SECONDS = 25.0
"""After that time no further size begins."""

RUNS, LEAST = 60, 3
"""Profiled runs of each network; sizes that are measured in any case."""

SMALL = 1000
"""Nodes with less to do say nothing of what an element costs."""

QUANTILE = 25
"""Percent of the runs that are faster than what counts: other work only ever adds."""

_LAYOUTS = frozenset({"ReorderInput", "ReorderOutput", "Transpose"})
_PLAIN = frozenset({
    "Conv", "FusedConv", "MaxPool", "AveragePool", "GlobalAveragePool", "QLinearConv",
    "NhwcMaxPool", "QLinearAveragePool", "QLinearGlobalAveragePool", "QuantizeLinear",
    "DequantizeLinear",
})  # fmt: skip
"""What does not ask for a change of layout: it is its neighbour's."""


def measure(target: Target, progress: Progress | None = None, threads: int = 1) -> Costs:
    """What kernels cost here, on so many *threads*, in the codes of *target*; about ``SECONDS``."""
    from onnxq.api.quantize import quantize  # which takes costs itself

    progress = progress or Silent()
    progress.stage("measuring kernels, once on this machine")
    start = perf_counter()
    floating: list[Observation] = []
    integer: list[Observation] = []
    conversions: list[Observation] = []
    for done, (channels, side) in enumerate(SIZES):
        if done >= LEAST and perf_counter() - start > SECONDS:
            break
        images = np.random.default_rng(0).standard_normal((10, 1, IMAGE, side, side))
        feeds = [{"image": image.astype(np.float32)} for image in images]
        made = quantize(
            network(channels, side), data=feeds, target=target, recipe=_recipe(),
            keep_unfused=True, report_detail="basic",
        )  # fmt: skip
        works = work(made.original, made.ctx)
        for model, kept in ((made.original, floating), (made.model, integer)):
            own, layouts = observed(model, works, feeds[:1], threads)
            kept.extend(own)
            conversions.extend(layouts)
        progress.advance(done + 1, len(SIZES))
    layout = fit(conversions)
    turned = [layout.get(kind, Cost()) for kind in ("Reorder", "Transpose")]
    return Costs(
        floating=fit(floating), integer=fit(integer),
        quantize=layout.get("QuantizeLinear", Cost()),
        dequantize=layout.get("DequantizeLinear", Cost()),
        layout=Cost(sum(c.node for c in turned), sum(c.element for c in turned)),
    )  # fmt: skip


def _recipe() -> Recipe:
    """Everything on integers, ranges as they come."""
    left = ("fuse-focus", "widen-small-weights")
    passes = Recipe.resolve("fast").passes
    return Recipe(tuple(p for p in passes if p.name not in left and "keep-" not in p.name))


def observed(
    model: Model,
    works: dict[str, Work],
    feeds: list[dict[str, np.ndarray]],
    threads: int,
) -> tuple[list[Observation], list[Observation]]:
    """The kernels of *model*, with the changes of layout that they ask for; and conversions.

    Args:
        model: float or quantized; its nodes have the names of *works*.
        works: by name, the work of the nodes that count.
        feeds: what it runs on.
        threads: threads within an operator.
    """
    proto = model.to_proto()
    run = optimized(proto).graph
    timed = {
        node: (float(np.percentile(found.seconds, QUANTILE)), found.elements)
        for (node, _), found in durations(model, feeds, runs=RUNS, threads=threads).items()
    }
    parts = _parts(proto.graph, run, works)
    parts = {n: w for n, w in parts.items() if max(x.elements + x.macs for x in w) >= SMALL}
    asked = _asked(run, parts)
    conversions, total = [], dict.fromkeys(parts, 0.0)
    for node in run.node:
        seconds, elements = timed.get(node.name, (0.0, 0))
        if node.name in parts:
            total[node.name] += seconds
        elif node.op_type in (*_LAYOUTS, "QuantizeLinear", "DequantizeLinear"):
            kind = "Reorder" if node.op_type.startswith("Reorder") else node.op_type
            if elements and seconds:
                conversions.append(Observation((Work(kind, elements, 0),), seconds))
            if node.name in asked:
                total[asked[node.name]] += seconds
    own = [Observation(tuple(parts[n]), s) for n, s in total.items() if s]
    return own, conversions


def _parts(
    graph: onnx.GraphProto, run: onnx.GraphProto, works: dict[str, Work]
) -> dict[str, list[Work]]:
    """By nodes of the optimized graph *run*, the work of the nodes of *graph* they were made of."""
    names = origins(graph, run)
    for node in run.node:  # fusions call what they make after a node that they took in
        known = node.name.split("/")[0]
        if node.name not in names and known in works:
            names[node.name] = known
    stands = {name: node for node, name in names.items() if name in works}
    found = {node: [works[name]] for name, node in stands.items()}
    makers = {o: n for n in graph.node for o in n.output}
    users = {i: n for n in graph.node for i in n.input}
    for node in graph.node:
        if node.name not in works or node.name in stands:
            continue
        near = [makers.get(i) for i in node.input] if node.op_type == "Add" else []
        near = near or [users.get(o) for o in node.output]
        host = next((stands[n.name] for n in near if n is not None and n.name in stands), None)
        if host is not None:
            found[host].append(works[node.name])
    return found


def _asked(run: onnx.GraphProto, parts: dict[str, list[Work]]) -> dict[str, str]:
    """By changes of layout of *run*, the neighbour that asks for it."""
    makers = {o: n for n in run.node for o in n.output}
    found = {}
    for node in run.node:
        if node.op_type in _LAYOUTS and node.name not in parts:
            users = [n for n in run.node if node.output[0] in n.input]
            near = [makers.get(node.input[0]), *users]
            wanted = [n.name for n in near if n is not None and n.op_type not in _PLAIN]
            if wanted and wanted[0] in parts:
                found[node.name] = wanted[0]
    return found
