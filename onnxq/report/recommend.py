"""Which layers to keep in float: few of them, that take most of the error off the outputs.

Greedy: in each step the layers that recover the most noise power of the outputs per
multiply-accumulate, always measured on the switchable graph with what was chosen before. Where the
values of a tensor were rounded badly, keeping what writes it in float does not help alone, since
what reads it rounds it again: such neighbours are tried together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxq.report.groups import Group
from onnxq.report.outcome import Effect, Outcome
from onnxq.report.sensitivity import Clock, Sensitivity

#: A step has to gain this many dB at the outputs.
GAIN_DB = 0.5
#: The chosen layers may have this share of all multiply-accumulates together. While the outputs are
#: below ``POOR_DB``, a step that takes away half of the noise may go beyond.
SHARE, POOR_DB = 0.10, 20.0
#: Layers at most.
MOST = 8
#: Outputs with an SQNR from here on need nothing.
GOOD_DB = 40.0
#: A layer counts as this share of the cost at least: free ones are no better than cheap ones.
_LEAST_SHARE = 0.02
#: Sets of neighbours that are tried, and settings that are measured in each step.
_SETS, _TRIED = 8, 4
#: A layer whose removal from its set costs less (dB) is not needed.
_NEEDLESS_DB = 0.1
_SURE = 2.5
#: How much more than what layers make alone may be recovered without such a test.
_PLAUSIBLE = 1.5


@dataclass(frozen=True)
class Step:
    """A layer to keep in float.

    *outcome* is measured with this, those that belong *together* with it, and all earlier ones in
    float.
    """

    node: str
    outcome: Outcome
    together: tuple[str, ...]


@dataclass(frozen=True)
class Advice:
    """Steps in order, and why there are no more."""

    steps: tuple[Step, ...]
    reason: str


class Recommender:
    """Chooses layers.

    Args:
        sensitivity: the switchable graph.
        effects: by node, what has been measured of it.
        macs: by node, the multiply-accumulates of the layers that can be kept in float.
        total: multiply-accumulates of the network.
        rank: nodes of layers, the largest noise of their own first.
        exact: layers that round nothing that is not rounded already.
        deadline, clock: after that time no further step begins.
        forecast: by node, about what it does alone, where that is not measured.
    """

    def __init__(
        self,
        sensitivity: Sensitivity,
        effects: Mapping[str, Effect],
        macs: Mapping[str, float],
        total: float,
        rank: Sequence[str],
        exact: Sequence[Group],
        deadline: float,
        clock: Clock,
        forecast: Mapping[str, float] | None = None,
    ) -> None:
        self.sensitivity, self.macs, self.total = sensitivity, macs, max(total, 1.0)
        self.rank = {node: i for i, node in enumerate(rank)}
        self.exact = [g for g in exact if g.node in sensitivity.index]
        self.deadline, self.clock = deadline, clock
        self.alone = {**(forecast or {}), **{n: e.alone.loss for n, e in effects.items()}}
        self.gains: dict[frozenset[str], float] = {}
        whole = sensitivity.whole.loss
        for node, effect in effects.items():
            if node in macs:
                self.gains[frozenset((node,))] = whole - effect.without.loss

    def advise(self) -> Advice:
        """Measure sets of neighbours, then take step after step."""
        now = self.sensitivity.whole
        if not now.sums:
            return Advice((), "no output is in floats")
        if now.sqnr_db >= GOOD_DB:
            return Advice((), f"the outputs are within {now.sqnr_db:.0f} dB of the float model's")
        sets = list(self._neighbours())[:_SETS]
        for nodes, outcome in zip(sets, self._measure(sets), strict=False):
            self.gains[nodes] = now.loss - outcome.loss
        steps: list[Step] = []
        reason = ""
        while not reason:
            chosen = frozenset(step.node for step in steps)
            found = self._best(chosen, now)
            if isinstance(found, str):
                reason = found
                break
            more = list(self._steps(steps, found))
            if not more[0].outcome.loss < now.loss:  # without what was not needed
                reason = "no further layers gain anything together"
                break
            steps += more
            now = steps[-1].outcome
            if now.sqnr_db >= GOOD_DB:
                reason = "the outputs are close to the float model's then"
            elif len(steps) >= MOST:
                reason = f"{MOST} layers are listed at most"
        return Advice(tuple(steps), reason)

    def _best(self, chosen: frozenset[str], now: Outcome) -> frozenset[str] | str:
        """The layers to take next; a reason where there are none."""
        least = now.loss * (1 - 10 ** (-GAIN_DB / 10))
        open_ = {s | chosen: gain for s, gain in self.gains.items() if not s <= chosen}
        # noise powers of different layers add up, so that gains are about those measured singly
        likely = [s for s, gain in open_.items() if gain >= least / 2]
        likely = [s for s in likely if len(s) <= MOST and self._fits(s, chosen, open_[s], now)]
        first = sorted(likely, key=lambda s: (-open_[s] / self._cost(s, chosen), self._place(s)))
        also = sorted(likely, key=lambda s: (-open_[s], self._place(s)))
        tried = list(dict.fromkeys([*first[:_TRIED], *also[:2]]))
        best, value = None, 0.0
        outcomes = dict(zip(tried, self._measure(tried), strict=False))
        for nodes, outcome in outcomes.items():
            gain = now.loss - outcome.loss
            score = gain / self._cost(nodes, chosen)
            # more than its layers make alone is recovered by chance, unless samples agree
            likely_gain = gain <= _PLAUSIBLE * sum(self.alone.get(n, 0.0) for n in nodes - chosen)
            if gain < least or not (likely_gain or certain(now.losses, outcome.losses)):
                continue
            if score > value and self._fits(nodes, chosen, gain, now):
                best, value = nodes, score
        if best is not None:
            return best - chosen
        if tried and len(outcomes) < len(tried):
            return "the time for it was used up"
        return f"no further layer gains {GAIN_DB:g} dB for its multiply-accumulates"

    def _steps(self, before: Sequence[Step], nodes: frozenset[str]) -> Iterator[Step]:
        """One step for each of *nodes* that is needed, the worst first."""
        kept = [s.node for s in before]
        needed = sorted(nodes, key=lambda n: self.rank.get(n, len(self.rank)))
        if len(needed) > 1:
            settings = [self.sensitivity.without((*kept, *needed))]
            (full,) = self.sensitivity.outcomes(settings)
            for node in sorted(needed, key=lambda n: -self.macs.get(n, 0)):
                fewer = [n for n in needed if n != node]
                if not fewer:
                    break
                (outcome,) = self.sensitivity.outcomes([self.sensitivity.without((*kept, *fewer))])
                if outcome.loss <= full.loss * 10 ** (_NEEDLESS_DB / 10):
                    needed = fewer
        (whole,) = self.sensitivity.outcomes([self.sensitivity.without((*kept, *needed))])
        for node in needed:
            yield Step(node, whole, tuple(n for n in needed if n != node))

    def _measure(self, sets: Sequence[frozenset[str]]) -> Iterator[Outcome]:
        def settings() -> Iterator[Any]:
            for nodes in sets:
                if self.clock() >= self.deadline:
                    return
                yield self.sensitivity.without(sorted(nodes))

        return self.sensitivity.outcomes(settings())

    def _cost(self, nodes: frozenset[str], chosen: frozenset[str]) -> float:
        """Share of the multiply-accumulates that *nodes* add to *chosen*."""
        return max(self._share(nodes - chosen), _LEAST_SHARE)

    def _share(self, nodes: frozenset[str]) -> float:
        return math.fsum(self.macs.get(n, 0) for n in sorted(nodes)) / self.total

    def _fits(
        self, nodes: frozenset[str], chosen: frozenset[str], gain: float, now: Outcome
    ) -> bool:
        ruined = now.sqnr_db < POOR_DB and gain >= now.loss / 2
        return ruined or self._share(nodes | chosen) <= SHARE

    def _place(self, nodes: frozenset[str]) -> list[int]:
        return sorted(self.rank.get(n, len(self.rank)) for n in nodes)

    def _neighbours(self) -> Iterator[frozenset[str]]:
        """What rounds the same tensor at both of its ends, the worst first."""
        same = _Same()
        for group in self.exact:  # what only moves codes has the tensor at both ends
            for source in group.sources:
                same.join(source.tensor, group.result)
        writers: dict[str, list[str]] = {}
        readers: dict[str, list[str]] = {}
        moving = {g.node for g in self.exact}
        moved: dict[str, list[str]] = {}
        for group in self.sensitivity.groups:
            if group.node in moving:
                moved.setdefault(same.root(group.result), []).append(group.node)
                continue
            if group.grid is not None:
                writers.setdefault(same.root(group.result), []).append(group.node)
            for source in group.sources:
                if source.grid is not None:
                    readers.setdefault(same.root(source.tensor), []).append(group.node)
        found: dict[frozenset[str], tuple[float, int]] = {}
        last = len(self.rank)
        for root, reading in readers.items():
            writing = writers.get(root, [])
            nodes = frozenset((*writing, *reading, *moved.get(root, ())))
            if 2 <= len(nodes) <= MOST and nodes <= self.macs.keys():
                both = [end for end in (writing, reading) if end]
                noise = min(max(self.alone.get(n, 0.0) for n in end) for end in both)
                place = max(min(self.rank.get(n, last) for n in end) for end in both)
                found[nodes] = min(found.get(nodes, (0.0, last)), (-noise, place))
        return iter(sorted(found, key=lambda nodes: (found[nodes], sorted(nodes))))


def certain(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether samples agree that there is less error *after* than *before*.

    The mean of the logarithms of their ratios, a pair for each sample, is ``_SURE`` times its
    standard error or more. Errors of layers add up with either sign: where many layers make
    noise, leaving out one of them changes the sum by chance.
    """
    one, two = (np.maximum(np.array(v), 1e-30) for v in (before, after))
    gains = np.log(one / two)
    if gains.size < 2:
        return bool(gains.sum() > 0)
    error = float(gains.std(ddof=1)) / math.sqrt(gains.size)
    return bool(gains.mean() > 0 and gains.mean() >= _SURE * error)


class _Same:
    """Names that stand for the same values."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        while name in self.parent:
            name = self.parent[name]
        return name

    def join(self, one: str, two: str) -> None:
        a, b = self.root(one), self.root(two)
        if a != b:
            self.parent[b] = a
