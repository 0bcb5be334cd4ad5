"""Channels whose factors are chosen together, and how the factors are written into the model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import replace_input
from onnxq.graph.deferred import Deferred, peek
from onnxq.graph.spilled import LARGE
from onnxq.passes._scope import Scope
from onnxq.passes.equalize._channels import Channels, Rounded
from onnxq.passes.equalize._coupled import coupled
from onnxq.passes.equalize._ends import LINEAR, Ids, Reader, Source, spread_columns
from onnxq.pipeline import Context
from onnxq.pipeline.scaled import note_scaled


@dataclass(frozen=True, eq=False)
class Block:
    """Sources that share a scale: all channels of each, and what is coupled to them.

    Attributes:
        roots: the variables that can be chosen, ascending, int64 [n].
        members: all variables that they stand for.
        sources: the layers.
        readers, rounded: as in ``Channels``, those with variables of the block.
        frozen: which roots have to keep the factor 1, bool [n].
        reason: why nothing can be scaled; empty where something can.
    """

    roots: Ids
    members: Ids
    sources: list[Source]
    readers: list[Reader]
    rounded: list[Rounded]
    frozen: NDArray[np.bool_]
    reason: str
    _root_of: Ids

    def has(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of *ids* are of the block."""
        own = self._root_of[ids]
        place = np.searchsorted(self.roots, own)
        found: NDArray[np.bool_] = self.roots[np.minimum(place, self.roots.size - 1)] == own
        return found

    @property
    def linear(self) -> bool:
        """Whether all of its sources are linear layers."""
        return all(source.node.op in LINEAR for source in self.sources)

    def where(self, ids: Ids) -> Ids:
        """Positions of *ids*, which are of the block, among its roots."""
        return np.searchsorted(self.roots, self._root_of[ids])


def blocks(channels: Channels, *, gated: bool) -> list[Block]:
    """The blocks of *channels* with a SiLU (*gated*) or those without, in graph order."""
    root_of = channels.roots()
    rows = [root_of[source.ids] for source in channels.sources]
    stops = dict(channels.frozen)
    for node, one, two in channels.pairs:
        met = f"its output meets another in '{node.name or node.op}' ({node.op})"
        stops |= dict.fromkeys((int(i) for i in (*one, *two) if int(i) not in stops), met)
    frozen = np.zeros(channels.count, bool)
    frozen[root_of[list(stops)]] = True
    block_of = coupled(channels.count, [(row[:-1], row[1:]) for row in rows])[root_of]
    found = []
    silus = {int(block_of[s.ids[0]]) for s in channels.sources if s.sigmoid is not None}
    for number in dict.fromkeys(int(block_of[s.ids[0]]) for s in channels.sources):
        if (number in silus) is not gated:
            continue
        mine = block_of == number
        members = np.flatnonzero(mine)
        roots = np.flatnonzero(np.bincount(root_of[members]))  # np.unique would load np.ma
        stuck = frozen[roots]
        reasons = [stops[i] for i in members.tolist() if i in stops]
        readers = [r for r in channels.readers if mine[r.ids].any()]
        reason = reasons[0] if stuck.all() else "" if readers else "no layer reads it"
        found.append(
            Block(
                roots,
                members,
                [s for s in channels.sources if mine[s.ids[0]]],
                readers,
                [r for r in channels.rounded if mine[r.ids].any()],
                stuck,
                reason,
                root_of,
            )
        )
    return found


def apply(channels: Channels, a: NDArray[np.float64]) -> None:
    """Scale the sources by *a* [variables], put 1/a into gates, divide the readers' weights.

    What was measured of scaled tensors is forgotten, and their names are noted in the model.
    """
    scope, ctx = Scope(channels.model), channels.ctx
    for source in channels.sources:
        factor = a[source.ids]
        if (factor == 1).all():
            continue
        for index in source.stored:
            _scale(scope, source.node, index, source.spread(index, factor))
        if source.sigmoid is not None:
            # its nodes are no longer one function of one tensor
            ctx.groups[:] = [g for g in ctx.groups if source.sigmoid.name not in g.nodes]
            rank = len(source.node.inputs[1].shape)
            k = (1 / factor).reshape([1, -1] + [1] * (rank - 2))
            _gate(scope, ctx, source.sigmoid, k)
    for reader in channels.readers:
        factor = a[reader.ids]
        if (factor != 1).any():
            _scale(scope, reader.node, 1, spread_columns(reader.node, 1 / factor))
    for node, index, ids in channels.added:
        if (a[ids] != 1).any():
            rank = len(node.inputs[index].shape)
            drop = min(ids.ndim - rank, int(np.argmax([*(n > 1 for n in ids.shape), True])))
            _scale(scope, node, index, a[ids].reshape(ids.shape[max(drop, 0) :]))
    scaled = {t: a[ids] for t, ids in channels.names.items() if (a[ids] != 1).any()}
    states = {t: s for t, s in ctx.statistics.states.items() if t not in scaled}
    ctx.statistics = replace(ctx.statistics, states=states)
    note_scaled(channels.model, scaled)


def _scale(scope: Scope, node: gs.Node, index: int, factor: NDArray[np.float64]) -> None:
    old = node.inputs[index]
    assert isinstance(old, gs.Constant)
    source = gs.Constant(old.name, old._values)

    def scaled() -> NDArray[np.float32]:
        return np.asarray(peek(source) * factor, np.float32)

    shape = tuple(int(d) for d in old.shape)
    if 4 * math.prod(shape) > LARGE and scope.only_use(old):  # computed anew for each use
        old._values = Deferred(shape, np.dtype(np.float32), scaled)
    else:
        scope.set_constant(node, index, scaled())


def _gate(scope: Scope, ctx: Context, sigmoid: gs.Node, k: NDArray[np.float64]) -> None:
    """Let *sigmoid* read its input times *k*."""
    x, model = sigmoid.inputs[0], scope.model
    base = sigmoid.name or sigmoid.outputs[0].name
    constant = gs.Constant(model.unique_name(f"{x.name}__unscale"), k.astype(np.float32))
    result = gs.Variable(model.unique_name(f"{x.name}__unscaled"), x.dtype, x.shape)
    name = model.unique_name(f"{base}__unscale")
    if x.name in ctx.facts:
        ctx.facts[result.name] = ctx.facts[x.name]
    scope.insert(sigmoid, "Mul", [x, constant], [result], name=name)
    replace_input(sigmoid, 0, result)
