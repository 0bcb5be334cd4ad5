"""Which tensor of a quantized model holds the values of which tensor of the float model.

Tools rename tensors, fold batch normalization, fuse activations and add reshapes. Both models are
run on one sample, the quantized one relaxed (see ``relaxed``), and a tensor is recognised by

1. its structure: the operator that it is the result of (fused activations aside) reads what is
   recognised already, or has equal weights up to a factor for each output channel;
2. its values: among the tensors of that structure the nearest; where there is none, a tensor of
   the same shape and nearly the same values;
3. its name, where several are equally near.

What is recognised takes the float model's values in the next round, so that an error goes no
further than the layer that makes it; where values say nothing (a ruined layer), structure decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.report.factors import Noted, Vector, estimate, shaped
from onnxq.report.likeness import Candidates, channel_factors, why_not
from onnxq.report.points import aliases, copies, followers, wanted
from onnxq.report.recognised import Matching
from onnxq.report.relaxed import Relaxed, Values, run_all
from onnxq.report.scaling import Scaling
from onnxq.report.structure import EQUAL_WEIGHTS, OTHER_WEIGHTS, Side, Structure

#: SQNR in dB from which values are alike: read by the same operator, by an equal one, by another.
_ALIKE = {2: 12.0, 1: 20.0, 0: 30.0}
#: SQNR in dB from which values are the same, whatever is known of their sources.
_EXACT_DB = 80.0
#: Values this near to the nearest are as near.
_TIE_DB = 1.0
#: SQNR of the outputs from which large errors on the way there mean scaled channels.
_SOUND_DB = 10.0
#: Rounds after which what is left is decided by structure, as it stands.
_PATIENCE = 40


def match(
    original: Model,
    quantized: Model,
    feed: Mapping[str, NDArray[Any]],
    taken: Mapping[str, NDArray[Any]] | None = None,
) -> Matching:
    """Recognise the tensors of *quantized* (in QDQ form) in *original* on the sample *feed*.

    Both have inputs of the same names; *taken* is what *quantized* takes where that is something
    else, such as codes. Activations only; constants are left out.

    Raises:
        UnsupportedModelError, DataError: ONNX Runtime cannot run one of them on the sample.
    """
    return _Matcher(original, quantized, feed, feed if taken is None else taken).run()


class _Matcher:
    def __init__(
        self,
        original: Model,
        quantized: Model,
        feed: Mapping[str, NDArray[Any]],
        taken: Mapping[str, NDArray[Any]],
    ) -> None:
        self.feed, self.graph = taken, quantized.graph
        self.mine, self.real = Side(quantized), Side(original)
        self.relaxed = Relaxed(quantized, self.mine.skeleton.constants)
        inputs = {t.name: feed[t.name] for t in original.graph.inputs if t.name in feed}
        self.real.values = {**run_all(original.to_proto(), feed), **inputs}
        dropped = self.real.skeleton.constants | {
            copy for _, copy in copies(original.graph, self.real.skeleton)
        }
        self.candidates = Candidates({
            n: v for n, v in self.real.values.items() if n not in dropped
        })  # fmt: skip
        for name in self.candidates.names():
            self.real.heads[name] = self.real.skeleton.heads(self.real.tensors[name])
        self.result = Matching()
        self.scaled: dict[str, str] = {}  # what may be scaled, with the float tensor
        self.scores: dict[str, dict[str, float]] = {}
        self.structure = Structure(self.mine, self.real, self.result.tensors, self.scaled)
        for tensor in quantized.graph.inputs:
            if tensor.name in inputs and inputs[tensor.name].dtype == taken[tensor.name].dtype:
                self.result.tensors[tensor.name] = tensor.name
        self.next = followers(quantized.graph, self.mine.skeleton)
        self.aliases = aliases(quantized.graph, self.mine.skeleton)
        self.scaling = Scaling(
            self.mine, self.real, self.relaxed.positions, Noted(original, quantized),
            self.result.tensors, self.result.factors,
        )  # fmt: skip

    def run(self) -> Matching:
        """Rounds until everything is recognised or given up."""
        now = self.now = self.relaxed.run(self.feed, {})
        self.mine.values = {**now, **self.feed}
        todo = wanted(self.graph, self.mine.skeleton, self.relaxed)
        todo = [n for n in todo if n in now and now[n].dtype.kind == "f"]
        for name in todo:
            self.mine.heads[name] = self.mine.skeleton.heads(self.mine.tensors[name])
            if noted := self.scaling.by_note(self.aliases[name], now[name].shape):
                self._take(name, *noted)
        self.next = {a: b for a, b in self.next.items() if a in todo and b in todo}
        ends = [t.name for t in self.graph.outputs if t.name in now]
        right = [self.candidates.compare(now[n]).get(n, -np.inf) for n in ends]
        self.sound = bool(right) and min(right) >= _SOUND_DB  # then nothing before is quite wrong
        self.suspect = self.scaling.suspected(todo, now)
        rounds = 0
        while todo := self._open(todo):
            self.settled = set(self._known()) | set(self.feed)
            self.scores |= {name: self._score(name, now) for name in todo}
            if not sum(self._decide(name, now) for name in todo):
                self._force(todo, now)
            rounds += 1
            while rounds >= _PATIENCE and (todo := self._open(todo)):
                self._force(todo, now)
            now = self.now = self.relaxed.run(self.feed, self._known())
        self.result.spread(list(copies(self.graph, self.mine.skeleton)))
        return self.result

    def _decide(self, name: str, now: Values) -> bool:
        """Recognise the tensor *name* or give it up, as far as that is certain; whether it is."""
        if not self.mine.heads[name]:  # a recognised tensor under another name
            real = self.structure.source(self.mine.tensors[name])
            if real is not None and now[name].shape == self.real.values[real].shape:
                return self._take(name, real)
        if undone := self.scaling.undone(name):
            return self._take(name, undone, np.ones(1))
        score = self.scores[name]
        near = [real for real in score if score[real] >= _ALIKE[2]]
        levels = {real: self.structure.level(name, real) for real in near}
        exact = {real: n for real, n in levels.items() if n and score[real] >= _EXACT_DB}
        if exact and self._by_value(name, exact, 1):
            return True
        clean = self._clean(name)
        # what is nearly right may be scaled: factors are seen where the sources are known
        if (clean or not self.suspect) and self._by_value(name, levels, 2):
            return True
        noted = bool(self.scaling.noted.vectors)
        every = {r: self.structure.level(name, r) for r in score} if noted or clean else {}
        if noted and (known := self.scaling.by_values(name, now, every, least=2)):
            return self._take(name, *known)
        if not clean:  # its values, or what is known of its sources, will get better
            return False
        if self._by_value(name, levels, 1) or self._by_value(name, levels, 0):
            return True
        if known := self.scaling.by_values(name, now, every, least=1):
            return self._take(name, *known)
        if seen := self._seen(name, now, [r for r, n in every.items() if n == 2]):
            return self._take(name, *seen)
        for real, level in every.items():
            fits = level == 2 and name not in self.scaled and not self.scaling.noted.complete
            if fits and channel_factors(self.real.values[real], now[name]):
                self.scaled[name] = real  # what comes behind it will tell
        return name not in self.scaled and self._by_structure(name, every)

    def _clean(self, name: str) -> bool:
        """Whether an operator that *name* is the result of has read the float model's values."""
        heads = self.mine.heads[name]
        return not heads or any(
            all(self._settled(t) for t in self.mine.floats(head)) for head in heads
        )

    def _settled(self, tensor: gs.Tensor) -> bool:
        names = {t.name for t in self.mine.skeleton.trail(tensor)}
        return bool(names & self.settled or names & self.result.unmatched.keys()
                    or names & self.scaled.keys())  # fmt: skip

    def _force(self, todo: list[str], now: Values) -> None:
        """Decide the first of *todo*, where a round decided none."""
        for name, real in list(self.scaled.items()):
            if name in todo:
                if self.sound or self._recovers(name):
                    found = estimate(self.real.values[real], now[name])
                    if found is not None:
                        self.result.estimated.add(name)
                        self._take(name, real, found[0])
                        return
                    low, high = channel_factors(self.real.values[real], now[name]) or (1.0, 1.0)
                    position = self.relaxed.positions.get(name)
                    self.result.scaled |= {name, name if position is None else position.source}
                    self.result.unmatched[name] = (
                        f"its channels are those of '{real}' times {low:.3g} … {high:.3g}, by an "
                        "estimate that other values of the sample do not confirm"
                    )
                else:
                    del self.scaled[name]
                    self._assume(name, real)
                return
        name = todo[0]
        levels = {real: self.structure.level(name, real) for real in self.scores[name]}
        if not (self._by_value(name, levels, 1) or self._by_value(name, levels, 0)):
            self._by_structure(name, levels, sure=False)

    def _open(self, names: list[str]) -> list[str]:
        done = self.result.tensors.keys() | self.result.unmatched.keys()
        return [n for n in names if n not in done]

    def _known(self) -> Values:
        """The float model's values of what is recognised, under the quantized model's names."""
        found, factors = {}, self.result.factors
        for name, real in self.result.tensors.items():
            if name in self.mine.values:
                value = self.real.values[real]
                value = value * factors[name] if name in factors else value
                found[name] = value.astype(self.mine.values[name].dtype, copy=False)
        return found

    def _by_value(self, name: str, levels: Mapping[str, int], level: int) -> bool:
        """Recognise *name* among tensors of at least that *level*; whether values allow it."""
        score = self.scores[name]
        group = [real for real in levels if levels[real] >= level]
        best = max((score[real] for real in group), default=-np.inf)
        if best < _ALIKE[level]:
            return False
        near = [real for real in group if score[real] > best - _TIE_DB]
        real = max(near, key=lambda real: self._fit(name, real))
        behind = self.scores.get(self.next.get(name, ""), {}).get(real, -np.inf)
        # a bias behind it may be all that is missing: then it is no tensor of its own
        return behind <= score[real] + _TIE_DB and self._take(name, real)

    def _score(self, name: str, now: Values) -> dict[str, float]:
        """SQNR in dB of *name* against each tensor of its shape, by that tensor's name."""
        position = self.relaxed.positions.get(name)
        if position is None:
            return self.candidates.compare(now[name])
        source = now.get(position.source)
        score: dict[str, float] = {}
        for value in position.variants(self.feed[position.source] if source is None else source):
            for real, db in self.candidates.compare(value).items():
                score[real] = max(score.get(real, db), db)
        return score

    def _fit(self, name: str, real: str) -> tuple[bool, bool, bool, bool, float]:
        """What decides between tensors of equal values."""
        known = real in self.aliases[name], real not in self.result.tensors.values()
        return *self.structure.fit(name, real), *known, self.scores[name][real]

    def _take(self, name: str, real: str, factors: Vector | None = None) -> bool:
        """*name* holds the values of *real*, times *factors*: those that fit, if not given."""
        value = self.real.values[real]
        if factors is None and name in self.now and value.shape == self.now[name].shape:
            vectors = self.scaling.candidates(name, self.now)
            factors = self.scaling.fit(name, self.now, real, vectors)[0] if vectors else None
            if factors is None or (factors == 1.0).all():
                _, factors = self._seen(name, self.now, [real]) or (real, None)
        position = self.relaxed.positions.get(name)
        for own in (name, *([] if position is None else [position.source])):
            same = self.result.tensors.setdefault(own, real) == real and real not in self.feed
            if same and factors is not None and (factors != 1.0).any():
                self.result.factors[own] = shaped(factors, value)
        self.result.tensors[name] = real
        self.scaled.pop(name, None)
        return True

    def _seen(self, name: str, now: Values, reals: list[str]) -> tuple[str, Vector] | None:
        """Of *reals* the tensor that *name* is, scaled, and the factors that were estimated."""
        found = self.scaling.estimated(name, now, reals)
        if found is not None:
            self.result.estimated.add(name)
        return found

    def _by_structure(self, name: str, levels: Mapping[str, int], *, sure: bool = True) -> bool:
        """Decide about *name*, whose values say nothing; *sure*: only where there is no doubt."""
        if name in self.next:  # inside a group, whose end the structure fits as well
            inner = [r for r in levels if levels[r] == 2 and all(self.structure.fit(name, r))]
            if len(inner) == 1:
                return self._assume(name, inner[0])
            self.result.unmatched[name] = "it lies inside a group, and no value tells where"
            return True
        named, taken = self.aliases[name], set(self.result.tensors.values())
        group = [r for r, n in levels.items() if n == 2 or (n == 1 and r in named)]
        if not group:
            self.result.unmatched[name] = why_not(self.scores[name], self.mine.values[name].shape)
            return True
        weights = {r: round(self.structure.weights(name, r), 2) for r in group}
        best = max(
            group, key=lambda r: (r in named, r not in taken, weights[r], *self._fit(name, r))
        )
        nodes = {id(self.real.heads[r][-1].node) for r in group}
        if sure and best not in named and len(nodes) > 1 and weights[best] < EQUAL_WEIGHTS:
            return False
        return self._assume(name, best)

    def _assume(self, name: str, real: str) -> bool:
        self.result.by_structure.add(name)
        if -1.0 < self.structure.weights(name, real) < OTHER_WEIGHTS:
            self.result.other_weights.add(name)
        return self._take(name, real)

    def _recovers(self, name: str) -> bool:
        """Whether something behind the tensor *name*, whose channels look scaled, is itself."""
        alike = self.result.tensors.keys() - self.result.by_structure
        heads = (head for other in alike for head in self.mine.heads.get(other, ()))
        return any(name in self.aliases[t.name] for head in heads for t in head.sources)
