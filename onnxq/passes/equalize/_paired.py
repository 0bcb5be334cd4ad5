"""Queries and keys: channels that are multiplied with each other and added up.

A logit is Σ_c q_c k_c, so that q'_c = s_c q_c and k'_c = k_c / s_c leave it as it is. Both tensors
are rounded with one step each, and the errors e_q and e_k arrive in the logits as

    Σ_c E[e_q,c²] E[k_c²] + E[e_k,c²] E[q_c²]

What is tried is s_c = Q_c^−γ K_c^δ, with Q and K the largest values of each channel.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import product

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.calibrate.patch_samples import PatchSamples
from onnxq.passes.equalize._channels import Channels
from onnxq.passes.equalize._ends import Array, Ids
from onnxq.passes.equalize._grids import nearest
from onnxq.passes.equalize._measure import SAMPLES
from onnxq.passes.equalize._through import along
from onnxq.pipeline import Context
from onnxq.pipeline.kernel_plan import activation_spec
from onnxq.quant import QuantSpec
from onnxq.quant.affine import affine
from onnxq.quant.patches import Columns

Rows = NDArray[np.float32]
_ROWS, _POWERS = 16, (0.0, 0.25, 0.5, 0.75, 1.0)
_OBSERVER = PatchSamples(Columns(), _ROWS)


@dataclass(frozen=True, eq=False)
class Pair:
    """A product of two tensors over channels.

    Attributes:
        node: the MatMul.
        one, two: the variables of both, one against one, int64 [n].
        tensors: names of tensors [..., n] that have them along their last axis.
        reason: why they cannot be scaled; empty where they can.
    """

    node: gs.Node
    one: Ids
    two: Ids
    tensors: tuple[str, str] = ("", "")
    reason: str = ""


def find_pairs(channels: Channels) -> list[Pair]:
    """The pairs of *channels*."""
    roots = channels.roots()
    read = {int(i) for r in channels.readers for i in roots[r.ids]}
    stops = {int(roots[i]): reason for i, reason in channels.frozen.items()}
    used = Counter(int(i) for _, *both in channels.pairs for ids in both for i in set(roots[ids]))
    found = []
    for node, one, two in channels.pairs:
        both = [roots[one], roots[two]]
        members = [int(i) for ids in both for i in ids]
        reason = next((stops[i] for i in members if i in stops), "")
        if not reason and any(i in read or used[i] > 1 for i in members):
            reason = "its channels are read elsewhere too"
        links = set(zip(both[0].tolist(), both[1].tolist(), strict=True))
        if len(links) != len(set(both[0].tolist())) or len(links) != len(set(both[1].tolist())):
            reason = reason or "its channels are coupled in different ways"
        names = _name(channels, one), _name(channels, two)
        if "" in names:
            reason = reason or "no tensor has its channels on one axis"
        found.append(Pair(node, one, two, names, reason))
    return found


def rows_of_pairs(chosen: list[Pair], channels: Channels, ctx: Context) -> list[list[Rows]]:
    """For each pair, rows of both tensors: [fitted q, fitted k, held q, held k]."""
    wanted = {name: (_OBSERVER,) for pair in chosen for name in pair.tensors}
    found = ctx.observe_apart(channels.model, wanted, SAMPLES) if wanted else ctx.statistics
    result = []
    for pair in chosen:
        parts: list[Rows] = []
        for held in (False, True):
            for name, ids in zip(pair.tensors, (pair.one, pair.two), strict=True):
                state = found.get(name, _OBSERVER)
                rows = [p[0] for n, p in state if (n % 4 == 3) is held]
                order = _order(channels.names[name].reshape(-1), ids)
                whole = np.concatenate(rows)[:, order] if rows else np.empty((0, ids.size))
                parts.append(whole.astype(np.float32))
        result.append(parts)
    return result


def choose_factors(
    pair: Pair, rows: list[Rows], roots: Ids, ctx: Context, cap: float
) -> tuple[Array, float, float]:
    """S [n] of *pair*, and noise to signal on rows held out without and with it."""
    spec = activation_spec(ctx)
    q, k, *held = rows
    seen = np.concatenate([q, held[0]]), np.concatenate([k, held[1]])
    _, group = np.unique(roots[pair.one], return_inverse=True)
    sizes = []
    for values in seen:
        size = np.zeros(group.max() + 1)
        np.maximum.at(size, group, np.abs(values).max(axis=0, initial=0.0).astype(np.float64))
        sizes.append(np.where(size > 0, size, 1.0))
    one = np.ones(pair.one.size)
    best, least = one, noise(seen, one, spec, (q, k))
    for gamma, delta in product(_POWERS, _POWERS):
        logs = delta * np.log(sizes[1]) - gamma * np.log(sizes[0])
        logs = np.clip(logs - logs.mean(), -np.log(cap), np.log(cap))
        s = np.asarray(np.exp(logs).astype(np.float16), np.float64)[group]
        made = noise(seen, s, spec, (q, k))
        if made < least:
            best, least = s, made
    judged = (held[0], held[1]) if len(held[0]) and len(held[1]) else (q, k)
    return best, noise(seen, one, spec, judged), noise(seen, best, spec, judged)


def noise(seen: tuple[Rows, Rows], s: Array, spec: QuantSpec, on: tuple[Rows, Rows]) -> float:
    """What rounding s·q and k / s leaves in the logits of *on*, over the ranges of *seen*."""
    q, k = seen
    scale = s.astype(np.float32)
    power = [np.square(v, dtype=np.float64).mean(axis=0) for v in (q, k)]
    total = 0.0
    for values, judged, factor, other in (
        (q, on[0], scale, power[1]), (k, on[1], 1 / scale, power[0])
    ):  # fmt: skip
        bounds = values * factor
        grid = affine(bounds.min(initial=0.0), bounds.max(initial=0.0), spec)
        error = nearest(np.asarray(judged * factor, np.float32), *grid, spec) / factor - judged
        total += float(np.square(error, dtype=np.float64).mean(axis=0) @ other)
    signal = float(power[0] @ power[1])
    return total / signal if signal > 0 else 0.0


def _name(channels: Channels, ids: Ids) -> str:
    """The last tensor that has just *ids* along its last axis."""
    wanted, found = np.sort(ids), ""
    for name, whole in channels.names.items():
        own = along(whole, whole.ndim - 1)
        if own is not None and own.size == ids.size and (np.sort(own) == wanted).all():
            found = name
    return found


def _order(own: Ids, ids: Ids) -> Ids:
    """Where in *own* each of *ids* is."""
    order = np.argsort(own)
    return np.asarray(order[np.searchsorted(own, ids, sorter=order)])
