"""Variants of a model in one run: in each, some tensors are rounded and the rest is float.

What rounding does is measured where the last integer layers write, as noise to signal. There errors
may be *centred*: of the square of what a channel is off by on average a tenth is counted, since a
bias that is corrected later takes most of it; of what means vary over n samples, n / (n − 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from onnxq.calibrate.channel_rows import ChannelRows, stacked
from onnxq.graph import Model
from onnxq.graph.header import default_opset
from onnxq.passes.correct._writer import Writer
from onnxq.pipeline import Context
from onnxq.pipeline.macs import macs
from onnxq.quant import QParams
from onnxq.threads import in_order

Variant = Mapping[str, QParams | NDArray[Any]]
"""By tensor, how it is rounded; or, of a constant, the values that it becomes."""
_FOUND, _MEANS, _ONE, _LEAST = "onnxq_noise", "onnxq_means", "onnxq_one", "onnxq_least"
_ENOUGH = 4
"""Samples whose mean error is told apart from the rest."""
_LEFT = 0.1
"""What is counted of it: where nothing varies, all that clipping does is in the mean."""
_NODES = 3000
"""Most nodes of the variants that run together."""


@dataclass(frozen=True)
class Bench:
    """A float model, and the places where variants of it are compared with it.

    Attributes:
        proto: the model.
        ends: the tensors that are compared.
        before: the nodes that the ends depend on, in order.
        work: multiply-accumulates by node name.
        shapes: of the ends whose rank is known, the rank, and the axis that channels are on.
    """

    proto: onnx.ModelProto
    ends: tuple[str, ...]
    before: tuple[onnx.NodeProto, ...]
    work: Mapping[str, int]
    shapes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, ctx: Context) -> Bench:
        """*model*, compared where planned nodes write that no planned node depends on."""
        proto = model.to_proto()
        last: dict[str, str] = {}
        for node in reversed(proto.graph.node):
            # going backwards, `last` holds what planned nodes depend on
            if any(o in last for o in node.output):
                last.update(dict.fromkeys(node.input, ""))
            elif node.name in ctx.plan.nodes:
                last.update(dict.fromkeys(node.input, ""))
                last[node.output[0]] = "end"
        ends = tuple(t for t, kind in last.items() if kind)
        before = tuple(n for n in proto.graph.node if any(o in last for o in n.output))
        work = {n.name: macs(n, ctx) or 0 for n in model.graph.nodes}
        tensors = model.tensors()
        ranks = {t: ctx.rank(tensors[t]) for t in ends}
        shapes = {t: (r, 1 if r > 3 else r - 1) for t, r in ranks.items() if r}
        return cls(proto, ends, before, work, shapes)

    @classmethod
    def at_outputs(cls, model: Model, ctx: Context) -> Bench:
        """*model*, compared at its own outputs, those in float."""
        proto = model.to_proto()
        kind = onnx.TensorProto.FLOAT
        ends = [o.name for o in proto.graph.output if o.type.tensor_type.elem_type == kind]
        needed, before = set(ends), []
        for node in reversed(proto.graph.node):
            if not needed.isdisjoint(node.output):
                needed.update(node.input)
                before.append(node)
        work = {n.name: macs(n, ctx) or 0 for n in model.graph.nodes}
        written = {o for n in before for o in n.output}
        return cls(proto, tuple(e for e in ends if e in written), tuple(before[::-1]), work)

    @property
    def blind(self) -> str:
        """Name of a node with sub-graphs, behind which variants cannot be told apart, or ""."""
        kinds = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
        return next((n.name for n in self.before if any(a.type in kinds for a in n.attribute)), "")

    def behind(self, tensors: Sequence[str]) -> list[onnx.NodeProto]:
        """The nodes between *tensors* and the ends."""
        reached, found = set(tensors), []
        for node in self.before:
            if not reached.isdisjoint(node.input):
                reached.update(node.output)
                found.append(node)
        return found

    def runs(self, tensors: Sequence[str]) -> float:
        """What a variant that rounds *tensors* costs, in runs of the whole model."""
        total = sum(self.work.get(n.name, 0) for n in self.before)
        return sum(self.work.get(n.name, 0) for n in self.behind(tensors)) / max(total, 1)

    def noise(self, ctx: Context, variants: Sequence[Variant], samples: int) -> NDArray[np.float64]:
        """Mean noise to signal over the ends, of each variant on the first *samples*."""
        return np.asarray(self.by_sample(ctx, variants, samples).mean(axis=0))

    def by_sample(
        self, ctx: Context, variants: Sequence[Variant], samples: int, *, centred: bool = False
    ) -> NDArray[np.float64]:
        """Noise to signal over the ends, [samples, variants].

        *centred* where there are enough samples, and the ranks of all ends are known.
        """
        side = 2 if samples == 1 else 1  # samples run side by side; of one alone, variants do
        centred = centred and samples >= _ENOUGH and all(end in self.shapes for end in self.ends)
        batches = list(self._batches(variants, side))
        found = list(in_order(lambda b: self._run(ctx, b, samples, centred), batches, side))
        return np.concatenate(found, axis=1) if found else np.empty((samples, 0))

    def _batches(self, variants: Sequence[Variant], side: int) -> Iterator[list[Variant]]:
        """*variants* in order, as many at once as may run together, in *side* batches at least."""
        behind = [self.behind([*variant]) for variant in variants]
        most = min(_NODES, -(-sum(len(own) for own in behind) // side))
        batch: list[Variant] = []
        nodes = 0
        for variant, own in zip(variants, behind, strict=True):
            if batch and nodes + len(own) > most:
                yield batch
                batch, nodes = [], 0
            batch, nodes = [*batch, variant], nodes + len(own)
        if batch:
            yield batch

    def _run(
        self, ctx: Context, variants: Sequence[Variant], samples: int, centred: bool
    ) -> NDArray[np.float64]:
        joined = onnx.ModelProto()
        joined.CopyFrom(self.proto)
        graph = joined.graph
        drop(graph, self.before)
        parts, means = [], []
        signals = [power(graph, end, end) for end in self.ends]
        for number, variant in enumerate(variants):
            written = self._copy(graph, variant, f"onnxq_{number}__")
            for end, signal in zip(self.ends, signals, strict=True):
                base = f"{number}_{end}"
                parts.append(ratio(graph, written.get(end, end), end, signal, base))
                if centred:
                    means.append(mean_error(joined, base, *self.shapes[end]))
        observer = ChannelRows(0)
        wanted = {_FOUND: (observer,)}
        graph.node.append(helper.make_node("Concat", parts, [_FOUND], _FOUND, axis=0))
        if centred:
            wanted[_MEANS] = (observer,)
            graph.node.append(helper.make_node("Concat", means, [_MEANS], _MEANS, axis=0))
        found = ctx.observe_apart(joined, wanted, samples)
        rows = stacked(found.get(_FOUND, observer))
        noise = rows.reshape(len(rows), len(variants), -1).mean(axis=2)
        if centred and len(rows) > 1:
            off = stacked(found.get(_MEANS, observer)).reshape(len(rows), len(variants), -1)
            left = np.square(off - off.mean(axis=0)).sum(axis=2) * len(rows) / (len(rows) - 1)
            noise += (1 - _LEFT) * (left - np.square(off).sum(axis=2)) / len(self.ends)
        return np.asarray(noise)

    def _copy(self, graph: onnx.GraphProto, variant: Variant, prefix: str) -> dict[str, str]:
        """Write the nodes behind *variant* once more; names of their tensors there."""
        names: dict[str, str] = {}
        given = {i.name for i in self.proto.graph.input}
        for tensor, q in variant.items():
            if tensor in given:
                names[tensor] = rounded(graph, tensor, q, prefix)
        for node in self.behind([*variant]):
            own = onnx.NodeProto()
            own.CopyFrom(node)
            own.name = prefix + node.name
            own.ClearField("input")
            for name in node.input:
                if name in variant and name not in names:
                    names[name] = rounded(graph, name, variant[name], prefix)
                own.input.append(names.get(name, name))
            own.ClearField("output")
            own.output.extend(prefix + o if o else "" for o in node.output)
            graph.node.append(own)
            for name in node.output:
                names[name] = prefix + name
                if name in variant:
                    names[name] = rounded(graph, prefix + name, variant[name], prefix)
        return names


def drop(graph: onnx.GraphProto, kept: Sequence[onnx.NodeProto]) -> None:
    """Leave of *graph* the nodes *kept*, and no outputs: what is measured becomes one."""
    del graph.node[:]
    graph.node.extend(kept)
    written = {o for n in kept for o in n.output}
    outputs = [o for o in graph.output if o.name in written]
    del graph.output[:]
    graph.output.extend(outputs)
    del graph.value_info[:]


def rounded(graph: onnx.GraphProto, tensor: str, q: QParams | NDArray[Any], prefix: str) -> str:
    """*tensor* after a round trip through its codes, in plain arithmetic; or the values *q*."""
    if not isinstance(q, QParams):
        graph.initializer.append(numpy_helper.from_array(q, prefix + tensor))
        return prefix + tensor
    zero, base = int(q.zero_point), f"{prefix}{tensor}__"
    for name, value in (("scale", q.scale), ("low", q.qmin - zero), ("high", q.qmax - zero)):
        constant = numpy_helper.from_array(np.array(value, np.float32), base + name)
        graph.initializer.append(constant)
    last = _node(graph, "Div", [tensor, base + "scale"], base + "steps")
    last = _node(graph, "Round", [last], base + "whole")
    last = _node(graph, "Clip", [last, base + "low", base + "high"], base + "code")
    return _node(graph, "Mul", [last, base + "scale"], base + "rounded")


def _node(graph: onnx.GraphProto, op: str, inputs: list[str], out: str, **attributes: Any) -> str:
    graph.node.append(helper.make_node(op, inputs, [out], out, **attributes))
    return out


def power(graph: onnx.GraphProto, tensor: str, base: str) -> str:
    """Σ x² of *tensor*, [1]."""
    if not any(i.name == _ONE for i in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), _ONE))
        graph.initializer.append(numpy_helper.from_array(np.array([1e-20], np.float32), _LEAST))
    total = _node(graph, "ReduceSumSquare", [tensor], f"onnxq_power__{base}", keepdims=0)
    return _node(graph, "Reshape", [total, _ONE], f"onnxq_sum__{base}")


def ratio(graph: onnx.GraphProto, tensor: str, end: str, signal: str, base: str) -> str:
    """Σ (y − x)² / Σ x², [1]; 0 where both are 0."""
    off = _node(graph, "Sub", [tensor, end], f"onnxq_off__{base}")
    total = power(graph, off, base)
    floor = _node(graph, "Add", [signal, _LEAST], f"onnxq_floor__{base}")
    return _node(graph, "Div", [total, floor], f"onnxq_ratio__{base}")


def mean_error(joined: onnx.ModelProto, base: str, rank: int, axis: int) -> str:
    """What each channel is off by on average, such that its squares add up to a part of ``ratio``.

    [channels], of a tensor of *rank* with channels on *axis*, behind the ``ratio`` named *base*.
    """
    off, floor = f"onnxq_off__{base}", f"onnxq_floor__{base}"
    write = Writer(joined.graph, f"onnxq_mean__{base}__", default_opset(joined))
    axes = [i for i in range(rank) if i != axis]
    mean = write.mean(off, axes) if axes else off
    places = write("Div", [write("Size", [off]), write("Size", [mean])])
    share = write("Div", [write("Cast", [places], to=onnx.TensorProto.FLOAT), floor])
    each = write("Mul", [mean, write("Sqrt", [share])])
    return write("Reshape", [each, write.constant([-1])])
