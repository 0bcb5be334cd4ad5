"""What holds of a model after every pass: a table of cheap checks.

Each check yields violations: the invariant's name, the node or tensor, and what is wrong. What is
violated already before the first pass is not blamed on one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from onnxq.graph import Model


@dataclass(frozen=True)
class Violation:
    """An invariant that does not hold: its name, where, and what is wrong there."""

    invariant: str
    where: str
    problem: str


@dataclass(frozen=True)
class End:
    """An input or output of the model: name, element type, shape as far as it is stated."""

    name: str
    dtype: str
    shape: tuple[object, ...] | None


@dataclass(frozen=True)
class Interface:
    """The inputs and outputs of a model, in order."""

    inputs: tuple[End, ...]
    outputs: tuple[End, ...]

    @classmethod
    def of(cls, model: Model) -> Interface:
        """The interface of *model* as it is now."""
        return cls(tuple(map(_end, model.graph.inputs)), tuple(map(_end, model.graph.outputs)))


def violations(model: Model, before: Interface | None = None) -> Iterator[Violation]:
    """What is wrong with *model*; with *before*, also where its interface is another now."""
    for check in CHECKS:
        yield from check(model)
    if before is not None:
        now = Interface.of(model)
        yield from _kept("graph inputs kept", before.inputs, now.inputs)
        yield from _kept("graph outputs kept", before.outputs, now.outputs)


def _end(tensor: gs.Tensor) -> End:
    shape = None if tensor.shape is None else tuple(tensor.shape)
    return End(tensor.name, "" if tensor.dtype is None else str(tensor.dtype), shape)


def _kept(rule: str, before: tuple[End, ...], now: tuple[End, ...]) -> Iterator[Violation]:
    names, new_names = [e.name for e in before], [e.name for e in now]
    if names != new_names:
        yield Violation(rule, ", ".join(names), f"now {', '.join(new_names) or 'none'}")
        return
    for old, new in zip(before, now, strict=True):
        if old.dtype and old.dtype != new.dtype:
            yield Violation(rule, old.name, f"element type {old.dtype} became {new.dtype}")
        if old.shape is not None and new.shape is not None and not _agree(old.shape, new.shape):
            yield Violation(rule, old.name, f"shape {old.shape} became {new.shape}")


def _agree(old: tuple[object, ...], new: tuple[object, ...]) -> bool:
    """Whether two stated shapes can be one: a name or None may become any number, and back."""
    return len(old) == len(new) and all(
        a == b or not (isinstance(a, int) and isinstance(b, int))
        for a, b in zip(old, new, strict=True)
    )


def inputs_have_sources(model: Model) -> Iterator[Violation]:
    """Each input of a node is computed, stored, a graph input, or left out on purpose."""
    yield from _sources(model.graph, frozenset())


def _sources(graph: gs.Graph, outer: frozenset[int]) -> Iterator[Violation]:
    known = {id(t) for t in graph.inputs}
    known.update(id(t) for node in graph.nodes for t in node.outputs)
    scope = outer | known

    def lacking(tensors: Iterable[gs.Tensor]) -> Iterator[str]:
        for t in tensors:
            if not (isinstance(t, gs.Constant) or t.is_empty() or id(t) in scope):
                yield t.name

    rule = "every input has a source"
    for node in graph.nodes:
        for name in lacking(node.inputs):
            yield Violation(rule, _name(node), f"its input '{name}' comes from nowhere")
        for inner in node.subgraphs():
            yield from _sources(inner, scope)
    for name in lacking(graph.outputs):
        yield Violation(rule, name, "this graph output comes from nowhere")


def names_are_unique(model: Model) -> Iterator[Violation]:
    """Within a graph and those around it, a name stands for one tensor; nodes have own names."""
    nodes = Counter(n.name for n in model.nodes() if n.name)
    for name, count in nodes.items():
        if count > 1:
            yield Violation("names are unique", name, f"{count} nodes have this name")
    yield from _tensor_names(model.graph, {})


def _tensor_names(graph: gs.Graph, outer: dict[str, int]) -> Iterator[Violation]:
    scope = dict(outer)
    for tensor in _tensors_of(graph):
        if tensor.name and scope.setdefault(tensor.name, id(tensor)) != id(tensor):
            yield Violation("names are unique", tensor.name, "two tensors have this name")
    for node in graph.nodes:
        for inner in node.subgraphs():
            yield from _tensor_names(inner, scope)


def _tensors_of(graph: gs.Graph) -> Iterator[gs.Tensor]:
    yield from graph.inputs
    for node in graph.nodes:
        yield from node.inputs
        yield from node.outputs
    yield from graph.outputs


def has_one_writer(model: Model) -> Iterator[Violation]:
    """No tensor is computed twice, and none that is a graph input is computed."""
    for graph in model.graphs():
        written = {id(t): "a graph input" for t in graph.inputs}
        for node in graph.nodes:
            for t in node.outputs:
                if id(t) in written and not t.is_empty():
                    problem = f"'{t.name}' is also written by {written[id(t)]}"
                    yield Violation("every tensor has one source", _name(node), problem)
                written[id(t)] = f"'{_name(node)}'"


def has_no_cycle(model: Model) -> Iterator[Violation]:
    """No node waits for itself."""
    for graph in model.graphs():
        writer = {id(t): id(n) for n in graph.nodes for t in n.outputs}
        needs = {id(n): {writer[r] for r in _reads(n) if r in writer} for n in graph.nodes}
        users: dict[int, list[int]] = {}
        for key, sources in needs.items():
            for source in sources:
                users.setdefault(source, []).append(key)
        waiting = {key: len(sources) for key, sources in needs.items()}
        ready = [key for key, count in waiting.items() if not count]
        while ready:
            for user in users.get(ready.pop(), ()):
                waiting[user] -= 1
                if not waiting[user]:
                    ready.append(user)
        stuck = [_name(n) for n in graph.nodes if waiting[id(n)]]
        if stuck:
            yield Violation("no cycle", stuck[0], f"it waits for itself, through {stuck[:6]}")


def _reads(node: gs.Node) -> Iterator[int]:
    """Identities of the tensors that *node* and the graphs inside it read."""
    yield from (id(t) for t in node.inputs)
    for inner in node.subgraphs():
        yield from (id(t) for t in inner.outputs)
        for child in inner.nodes:
            yield from _reads(child)


def _name(node: gs.Node) -> str:
    return str(node.name or node.op)


CHECKS: tuple[Callable[[Model], Iterator[Violation]], ...] = (
    inputs_have_sources,
    has_one_writer,
    names_are_unique,
    has_no_cycle,
)
"""The table; the interface is checked beside it, because it needs two moments."""
