"""A graph cut into pieces that run one after another, so that a run can start in the middle.

What a piece hands on is kept for the two chains that variants share a beginning with: all switches
off, all on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from onnxq.report.nodes import reads
from onnxq.report.reductions import Shape
from onnxq.report.switches import SWITCHES, Switchable, is_switch, renamed
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session

Feed = Mapping[str, NDArray[Any]]
State = dict[str, Any]


@dataclass(frozen=True)
class _Segment:
    """One piece.

    Attributes:
        sessions: with switches, with all of them off, with all of them on. The latter two have no
            switches at all, and so are fused and laid out as one network.
        switches: which switches it has.
        kept: what is read behind it.
    """

    sessions: tuple[_Part, _Part, _Part]
    switches: tuple[int, ...]
    kept: frozenset[str]


@dataclass(frozen=True)
class _Part:
    session: Session
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Chain:
    """A run that others start from.

    Attributes:
        on: its switches.
        states: by segment, what is known before it runs.
        outputs: of the whole graph.
    """

    on: NDArray[np.bool_]
    states: tuple[State, ...]
    outputs: State


class Segments:
    """Runs a switchable graph, from its start or from where a known chain differs.

    Args:
        graph: the switchable graph.
        costs: by group, what it costs to run, to cut into equal parts.
        shapes: shapes of tensors of the float model on the samples, as far as known.
        types: element types of the float model's tensors, as far as known.
        most: pieces at most.
        providers, threads: as for ``Session``.

    Raises:
        UnsupportedModelError: ONNX Runtime cannot load a piece.
    """

    def __init__(
        self,
        graph: Switchable,
        costs: Sequence[float],
        shapes: Mapping[str, Shape],
        types: Mapping[str, int],
        *,
        most: int = 8,
        providers: Sequence[Provider] = (),
        threads: int | None = None,
    ) -> None:
        model = graph.model
        self.outputs = [o.name for o in model.graph.output]
        nodes = list(model.graph.node)
        index = {g.result: k for k, g in enumerate(graph.groups)}
        switched = [index[n.output[0]] if is_switch(n) else None for n in nodes]
        live = _live(model)
        weights = [0.0 if k is None else costs[k] for k in switched]
        ends = _cuts(live, weights, shapes, types, most)
        self.segment_of = np.zeros(len(graph.groups), int)
        self.segments: list[_Segment] = []
        initializers = {t.name: t for t in model.graph.initializer}
        start = 0
        for number, end in enumerate([*ends, len(nodes)]):
            own = tuple(k for k in switched[start:end] if k is not None)
            self.segment_of[list(own)] = number
            parts = []
            for chosen in (None, False, True):
                inner = nodes[start:end] if chosen is None else _decided(nodes[start:end], chosen)
                part = _part(model, inner, initializers, live[end], shapes, types)
                names = tuple(i.name for i in part.graph.input)
                session = Session(part, providers, threads=threads, qdq=False)
                parts.append(_Part(session, names))
            kept = frozenset(live[end]) | {*self.outputs}
            self.segments.append(_Segment((parts[0], parts[1], parts[2]), own, kept))
            start = end

    def chain(self, feed: Feed, on: NDArray[np.bool_]) -> Chain:
        """Run all of it, and keep what others may start from."""
        states: list[State] = []
        state: State = dict(feed)
        for segment in self.segments:
            states.append(state)
            state = self._step(segment, state, on)
        return Chain(on, tuple(states), self._outputs(state))

    def run(self, on: NDArray[np.bool_], chains: Sequence[Chain]) -> State:
        """Outputs for the switches *on*, from where they differ from all of *chains*."""
        start, chain = max(((self._same(on, c.on), c) for c in chains), key=lambda found: found[0])
        if start == len(self.segments):
            return chain.outputs
        state = chain.states[start]
        for segment in self.segments[start:]:
            state = self._step(segment, state, on)
        return self._outputs(state)

    def _same(self, one: NDArray[np.bool_], two: NDArray[np.bool_]) -> int:
        """How many segments compute the same with both."""
        differ = self.segment_of[one != two]
        return int(differ.min()) if differ.size else len(self.segments)

    def _step(self, segment: _Segment, state: State, on: NDArray[np.bool_]) -> State:
        known = {**state, SWITCHES: on}
        count = int(on[list(segment.switches)].sum())
        part = segment.sessions[0]
        if count in (0, len(segment.switches)):
            part = segment.sessions[2 if count else 1]
        found = part.session.run({name: known[name] for name in part.inputs})
        return {k: v for k, v in {**state, **found}.items() if k in segment.kept}

    def _outputs(self, state: State) -> State:
        return {name: state[name] for name in self.outputs if name in state}


def _live(model: onnx.ModelProto) -> list[list[str]]:
    """Before each node and at the end, the tensors that are known and still read, in order."""
    nodes = model.graph.node
    last: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for name in reads(node):
            last[name] = i
    constants = {t.name for t in model.graph.initializer} | {SWITCHES}
    known = [i.name for i in model.graph.input if i.name not in constants]
    now = {name: None for name in known if name in last}
    found = []
    for i, node in enumerate(nodes):
        found.append(list(now))
        now.update({name: None for name in node.output if last.get(name, -1) > i})
        for name in reads(node):
            if last[name] == i:
                now.pop(name, None)
    return [*found, []]


def _cuts(
    live: Sequence[Sequence[str]],
    weights: Sequence[float],
    shapes: Mapping[str, Shape],
    types: Mapping[str, int],
    most: int,
) -> list[int]:
    """Before which nodes to cut: near equal parts of the cost, where the fewest values pass."""
    total = sum(weights)
    if not total:
        return []
    done = np.concatenate([[0.0], np.cumsum(weights)]) / total
    found: list[int] = []
    for part in range(1, most):
        near = np.flatnonzero(np.abs(done - part / most) <= 0.5 / most).tolist()
        places = [
            i for i in near
            if 0 < i < len(weights) and (not found or i > found[-1])
            and all(name in types for name in live[i])
        ]  # fmt: skip
        if places:
            found.append(
                min(places, key=lambda i: sum(prod(shapes.get(n, (1 << 24,))) for n in live[i]))
            )
    return found


def _decided(nodes: Sequence[onnx.NodeProto], on: bool) -> list[onnx.NodeProto]:
    """*nodes* with the chosen branch in the place of each switch."""
    found: list[onnx.NodeProto] = []
    for node in nodes:
        if not is_switch(node):
            if SWITCHES not in node.input:
                found.append(node)
            continue
        name = "then_branch" if on else "else_branch"
        branch = next(a.g for a in node.attribute if a.name == name)
        found += [renamed(n, branch.output[0].name, node.output[0]) for n in branch.node]
    return found


def _part(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    initializers: Mapping[str, onnx.TensorProto],
    live: Sequence[str],
    shapes: Mapping[str, Shape],
    types: Mapping[str, int],
) -> onnx.ModelProto:
    """The model of *nodes* alone; it writes what is *live* behind it, and outputs."""
    part = onnx.ModelProto(ir_version=model.ir_version)
    part.opset_import.extend(model.opset_import)
    part.functions.extend(model.functions)
    part.graph.name = "segment"
    part.graph.node.extend(nodes)
    made = {name for node in nodes for name in node.output}
    read = dict.fromkeys(name for node in nodes for name in reads(node))
    given = {i.name: i for i in model.graph.input}
    outputs = [o.name for o in model.graph.output]
    part.graph.initializer.extend(initializers[n] for n in read if n in initializers)
    for name in read:
        if name in made or name in initializers:
            continue
        if name in given:
            part.graph.input.append(given[name])
        else:
            part.graph.input.append(
                helper.make_tensor_value_info(name, types[name], shapes.get(name))
            )
    for name in dict.fromkeys(n for n in (*live, *outputs) if n in made):
        part.graph.output.append(onnx.ValueInfoProto(name=name))
    return part
