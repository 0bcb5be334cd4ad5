"""What rounding one tensor does to the results of the layers that read it.

The float model runs once; beside it, for each trial, the nodes from the rounded tensor to the next
layers and no further. A trial therefore costs as much as these layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from onnxq.calibrate.channel_means import ChannelMeans
from onnxq.graph import Model
from onnxq.passes.correct._candidates import Candidates
from onnxq.passes.correct._variants import Variant, drop, power, ratio, rounded
from onnxq.pipeline import Context
from onnxq.pipeline.range_choice import RangeChoice

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_CLAMPS = ("Relu", "Clip", "LeakyRelu", "PRelu")
_CLEARLY = 0.1
"""Share of the noise that another method has to save."""
_DEPTH = 6
"""How many operators an error is followed through before it is looked at."""
_NODES, _BYTES = 2000, 1 << 27
"""Most nodes, and bytes of weights they read, of the trials that run at once."""
_FOUND = "onnxq_nearby"
_KINDS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


@dataclass(frozen=True)
class Reach:
    """The nodes that errors of some tensors pass, in order, and the tensors where they arrive."""

    nodes: tuple[onnx.NodeProto, ...]
    ends: tuple[str, ...]


class Nearby:
    """A float model, and trials in which tensors of it are rounded."""

    def __init__(self, model: Model) -> None:
        self.proto = model.to_proto()
        self.users: dict[str, list[onnx.NodeProto]] = {}
        for node in self.proto.graph.node:
            for name in dict.fromkeys(node.input):
                self.users.setdefault(name, []).append(node)
        self.order = {n.output[0]: i for i, n in enumerate(self.proto.graph.node)}
        self.outputs = {o.name for o in self.proto.graph.output}

    def reach(self, tensors: Sequence[str]) -> Reach:
        """Where errors of *tensors* arrive: behind the next layers, and the clamps on these."""
        depth = dict.fromkeys(tensors, 0)
        passed: dict[int, onnx.NodeProto] = {}
        ends: dict[str, None] = {}
        waiting = [*tensors]
        while waiting:
            name = waiting.pop(0)
            if name in self.outputs and name not in tensors:
                ends[name] = None
            for node in self.users.get(name, ()):
                if any(a.type in _KINDS for a in node.attribute):
                    continue  # what a sub-graph makes of it is not followed
                passed[self.order[node.output[0]]] = node
                if node.op_type in _LAYERS:
                    ends[self._clamped(node, passed)] = None
                elif depth[name] + 1 == _DEPTH:
                    ends.update(dict.fromkeys(o for o in node.output if o))
                else:
                    new = [o for o in node.output if o and o not in depth]
                    depth.update(dict.fromkeys(new, depth[name] + 1))
                    waiting += new
        return Reach(tuple(passed[i] for i in sorted(passed)), tuple(ends))

    def _clamped(self, layer: onnx.NodeProto, passed: dict[int, onnx.NodeProto]) -> str:
        """The result of *layer*, behind the clamp that alone reads it."""
        name = str(layer.output[0])
        users = self.users.get(name, [])
        if len(users) != 1 or users[0].op_type not in _CLAMPS or name in self.outputs:
            return name
        passed[self.order[users[0].output[0]]] = users[0]
        return str(users[0].output[0])

    def noise(
        self, ctx: Context, trials: Sequence[tuple[Reach, Variant]], samples: int
    ) -> NDArray[np.float64]:
        """Mean noise to signal where each trial's errors arrive, on the first *samples*."""
        sizes = {i.name: len(i.raw_data) for i in self.proto.graph.initializer}
        found: list[float] = []
        batch: list[tuple[Reach, Variant]] = []
        nodes = size = 0
        for trial in trials:
            own = trial[0].nodes
            reads = sum(sizes.get(i, 0) for n in own for i in n.input)
            if batch and (nodes + len(own) > _NODES or size + reads > _BYTES):
                found += self._run(ctx, batch, samples)
                batch, nodes, size = [], 0, 0
            batch, nodes, size = [*batch, trial], nodes + len(own), size + reads
        if batch:
            found += self._run(ctx, batch, samples)
        return np.array(found)

    def _run(
        self, ctx: Context, trials: Sequence[tuple[Reach, Variant]], samples: int
    ) -> list[float]:
        joined = onnx.ModelProto()
        joined.CopyFrom(self.proto)
        graph = joined.graph
        drop(graph, list(self.proto.graph.node))
        ends = dict.fromkeys(end for reach, _ in trials for end in reach.ends)
        signals = {end: power(graph, end, end) for end in ends}
        parts, counts = [], []
        for number, (reach, variant) in enumerate(trials):
            names = self._copy(graph, reach, variant, f"onnxq_{number}__")
            counts.append(len(reach.ends))
            parts += [
                ratio(graph, names[end], end, signals[end], f"{number}_{end}") for end in reach.ends
            ]
        graph.node.append(helper.make_node("Concat", parts, [_FOUND], _FOUND, axis=0))
        observer = ChannelMeans(0)
        mean = ctx.observe_apart(joined, {_FOUND: (observer,)}, samples).get(_FOUND, observer)
        return [float(p.mean()) for p in np.split(mean.mean, np.cumsum(counts)[:-1])]

    def _copy(
        self, graph: onnx.GraphProto, reach: Reach, variant: Variant, prefix: str
    ) -> dict[str, str]:
        """Write the nodes of *reach* once more, behind rounded tensors; names of theirs there."""
        names = {t: rounded(graph, t, q, prefix) for t, q in variant.items()}
        for node in reach.nodes:
            own = onnx.NodeProto()
            own.CopyFrom(node)
            own.name = prefix + (node.name or node.output[0])
            inputs = [names.get(name, name) for name in node.input]
            outputs = [prefix + o if o else "" for o in node.output]
            own.ClearField("input")
            own.ClearField("output")
            own.input.extend(inputs)
            own.output.extend(outputs)
            graph.node.append(own)
            for name, new in zip(node.output, outputs, strict=True):
                if name and name not in variant:
                    names[name] = new
        return names


def compare(
    model: Model,
    ctx: Context,
    found: Mapping[str, Candidates],
    rounded_with: Mapping[str, tuple[str, ...]],
    samples: int,
) -> dict[str, RangeChoice]:
    """The best method for each key of *found* whose errors reach a layer.

    *rounded_with* names the tensors of a key, which are rounded alike. The method of least error
    on the tensor itself, which all samples speak for, stays unless another is clearly better.
    """
    nearby = Nearby(model)
    reaches = {key: nearby.reach(tensors) for key, tensors in rounded_with.items()}
    keys = [(key, m) for key, own in found.items() for m in own.methods if reaches[key].ends]
    trials = [
        (reaches[key], dict.fromkeys(rounded_with[key], found[key].methods[m])) for key, m in keys
    ]
    noise: dict[str, dict[str, float]] = {}
    for (key, method), value in zip(keys, nearby.noise(ctx, trials, samples), strict=True):
        noise.setdefault(key, {})[method] = float(value)
    return {key: _chosen(found[key].own, errors, reaches[key]) for key, errors in noise.items()}


def _chosen(own: str, errors: Mapping[str, float], reach: Reach) -> RangeChoice:
    best = min(errors, key=lambda m: errors[m])
    method = best if errors[best] < (1 - _CLEARLY) * errors[own] else own
    ends = ", ".join(f"'{end}'" for end in reach.ends[:2]) + (" …" if len(reach.ends) > 2 else "")
    reason = f"noise to signal {errors[method]:.2e} at {ends}"
    others = [f"{error:.2e} with {m}" for m, error in errors.items() if m != method]
    if others:
        reason += f", against {', '.join(others)}"
    if method == own:
        reason += "; it has the least error on the tensor itself"
        reason += "" if best == own else ", and none is clearly better behind it"
    return RangeChoice(method, reason, dict(errors))
