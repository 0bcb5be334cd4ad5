"""A layer with weights and the one layer that reads it, through operators in a row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import attribute, consumers, is_constant, replace_uses
from onnxq.passes._scope import Scope, is_standard, present
from onnxq.passes.equalize._ends import output_axis
from onnxq.pipeline import Context

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Chain:
    """What alone reads a layer, what alone reads that, and so on up to another layer.

    Attributes:
        source: the layer in front.
        between: the nodes in the row, in order.
        reader: the layer behind; None where the row ends otherwise.
        reason: why it ends otherwise; empty where it does not.
    """

    source: gs.Node
    between: tuple[gs.Node, ...]
    reader: gs.Node | None
    reason: str

    @property
    def channels(self) -> int:
        """How many channels the source writes."""
        return int(self.source.inputs[1].shape[output_axis(self.source)])


def chains(
    scope: Scope, sources: Collection[str], readers: Collection[str], passes: Callable[..., bool]
) -> Iterator[Chain]:
    """For each layer of the main graph of the types *sources*, the row behind it, in graph order.

    The row goes on through every node that *passes*, and ends well at one of the types *readers*.
    """
    for source in scope.sites(*sources):
        if scope.graph(source) is scope.model.graph and is_constant(source.inputs[1]):
            yield _follow(scope, source, readers, passes)


def _follow(
    scope: Scope, source: gs.Node, readers: Collection[str], passes: Callable[..., bool]
) -> Chain:
    between: list[gs.Node] = []
    flat = source.op != "Conv"  # channels are the last axis, and not the second of an image

    def ends(reason: str) -> Chain:
        return Chain(source, tuple(between), None, reason)

    while True:
        tensor = (between or [source])[-1].outputs[0]
        uses = consumers(tensor)
        if scope.is_output(tensor):
            return ends(f"'{tensor.name}' is an output of the graph")
        if len(uses) != 1:
            return ends(f"'{tensor.name}' is read {len(uses)} times")
        node, index = uses[0]
        if not is_standard(node) or scope.graph(node) is not scope.model.graph:
            return ends(f"its output reaches '{node.name or node.op}', which is not followed")
        if node.op in readers and index == 0 and flat is (node.op != "Conv"):
            return Chain(source, tuple(between), node, "")
        others = any(t.name for t in node.outputs[1:])
        others = others or (node.op == "Dropout" and present(node, 2))  # it may be training
        moves = node.op == "Flatten" or node.op.endswith("Pool")
        if index or others or (moves and flat) or not passes(node):
            return ends(f"its output reaches '{node.name or node.op}' ({node.op})")
        between.append(node)
        flat = flat or node.op == "Flatten"


def cannot_change(scope: Scope, node: gs.Node) -> str:
    """Why the weight and the bias of *node* cannot be replaced; empty where they can."""
    weight, name = node.inputs[1], node.name or node.op
    stored = is_constant(weight) and weight.dtype == np.float32
    if not stored or not scope.only_use(weight):
        return f"the weight of '{name}' is shared, computed or not float32"
    if len(weight.shape) < 2 or (node.op == "MatMul" and len(weight.shape) != 2):
        return f"the weight of '{name}' is not one matrix or kernel"
    if node.op == "Gemm" and attribute(node, "transA", 0):
        return f"'{name}' reads its input transposed"
    if node.op == "MatMul":
        return ""
    if present(node, 2) and not (is_constant(node.inputs[2]) and scope.only_use(node.inputs[2])):
        return f"the bias of '{name}' is shared or computed"
    if float(attribute(node, "beta", 1.0)) == 0.0:
        return f"the bias of '{name}' counts for nothing (beta = 0)"
    return ""


def flattens(node: gs.Node) -> bool:
    """Whether *node* is a Flatten that keeps what belongs to one channel together."""
    return node.op == "Flatten" and int(attribute(node, "axis", 1)) == 1


def rename(scope: Scope, chain: Chain, ctx: Context, suffix: str, channels: int) -> dict[str, str]:
    """New tensors in place of those of *chain*, which now have so many *channels*.

    They hold other numbers than those of the model that was given, and so have other names.

    Returns:
        The new names by the old ones.
    """
    names = {}
    for node in (chain.source, *chain.between):
        old = node.outputs[0]
        new = gs.Variable(scope.model.unique_name(f"{old.name}__{suffix}"), old.dtype)
        if old.shape is not None:
            new.shape = _widened(old.shape, chain, channels)
        replace_uses(scope.model, old, new)
        node.outputs[0] = new
        names[old.name] = new.name
        fact = ctx.facts.get(old.name)
        if fact is not None and fact.shape is not None:
            fact = replace(fact, shape=tuple(_widened(fact.shape, chain, channels)))
        if fact is not None:
            ctx.facts[new.name] = fact
    return names


def _widened(shape: Sequence[T], chain: Chain, channels: int) -> list[T | int]:
    """*shape* with the length along the channels in proportion to *channels*."""
    axis = 1 if chain.source.op == "Conv" else len(shape) - 1
    return [
        n * channels // chain.channels if i == axis and isinstance(n, int) else n
        for i, n in enumerate(shape)
    ]
