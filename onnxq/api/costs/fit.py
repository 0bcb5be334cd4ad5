"""Costs of kernels from what nodes took: a linear model, fitted to relative errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxq.pipeline.latency import Work
from onnxq.targets.costs import Cost

#: Kinds whose time grows with multiply-accumulates; elements of a product are too few to tell.
_MACS = frozenset({"Conv", "ShallowConv", "DepthwiseConv", "Gemm"})
_ONLY_MACS = frozenset({"Gemm"})


@dataclass(frozen=True)
class Observation:
    """A node of the optimized graph: what it was made of, and the seconds that it took."""

    works: tuple[Work, ...]
    seconds: float


def fit(observations: Sequence[Observation]) -> dict[str, Cost]:
    """Costs by kind of which the times of *observations* are sums, as nearly as can be.

    Being called costs the same for all kinds. Squares of relative errors are least; no cost is
    negative: those that would be are left out, one after another (Lawson and Hanson 1974,
    "Solving Least Squares Problems", for the exact method).
    """
    kinds = sorted({w.kind for o in observations for w in o.works})
    names = [("", "node"), *((k, p) for k in kinds for p in _parts(k))]
    columns = {name: i for i, name in enumerate(names)}
    rows = np.zeros((len(observations), len(names)))
    for row, one in zip(rows, observations, strict=True):
        row[0] = 1.0  # a fused node is called once
        for work in one.works:
            for part in _parts(work.kind):
                row[columns[work.kind, part]] += getattr(work, f"{part}s")
    nanoseconds = 1e9 * np.array([o.seconds for o in observations])
    found = _least_squares(rows / nanoseconds[:, None], np.ones(len(rows)))
    node = float(found[0])

    def cost(kind: str) -> Cost:
        given = {p: float(found[columns[kind, p]]) for p in _parts(kind)}
        return Cost(node, given.get("element", 0.0), given.get("mac", 0.0))

    return {kind: cost(kind) for kind in kinds}


def _parts(kind: str) -> tuple[str, ...]:
    if kind in _ONLY_MACS:
        return ("mac",)
    return ("element", "mac") if kind in _MACS else ("element",)


def _least_squares(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """X with the least |a x − b| that this finds, none of it negative."""
    scale = np.linalg.norm(a, axis=0)
    kept = np.flatnonzero(scale)
    while True:
        x = np.linalg.lstsq(a[:, kept] / scale[kept], b, rcond=None)[0]
        if not x.size or x.min() >= 0:
            break
        kept = np.delete(kept, x.argmin())
    found = np.zeros(a.shape[1])
    found[kept] = x / scale[kept]
    return found
