"""Recognises the tensors whose channels a quantizer has scaled, while models are matched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import constant_value
from onnxq.report.factors import BETTER_DB, SEEN_DB, Noted, Vector, fits, fitting, of_joined
from onnxq.report.relaxed import Position, Values
from onnxq.report.skeleton import COMPUTE
from onnxq.report.structure import Side
from onnxq.report.weight_factors import factors_of_weights

#: How far factors that are taken off again may be from 1: half a step of 8 bits.
_BACK = 1 / 255


class Scaling:
    """What is known of factors, and where they fit.

    Args:
        mine, real: the quantized model and the float one.
        positions: where *mine* rounds activations, see ``Relaxed``.
        noted: the factors that are noted in the quantized model.
        tensors: what is recognised, by name in the quantized model; grows while this is in use.
        factors: of what is recognised, the factors, [1, channels, 1, …] or so; likewise.
    """

    def __init__(
        self,
        mine: Side,
        real: Side,
        positions: Mapping[str, Position],
        noted: Noted,
        tensors: Mapping[str, str],
        factors: Mapping[str, NDArray[Any]],
    ) -> None:
        self.mine, self.real, self.noted = mine, real, noted
        self.positions, self.tensors, self.factors = positions, tensors, factors

    def by_note(self, names: set[str], shape: tuple[int, ...]) -> tuple[str, Vector] | None:
        """The float model's tensor of *shape*, and its factors, that a note has one of *names*."""
        for name in sorted(names & self.noted.by_name.keys() & self.real.heads.keys()):
            vector, value = self.noted.by_name[name], self.real.values[name]
            if value.shape == shape and fits(vector, shape):
                return name, vector
        return None

    def by_values(
        self, name: str, now: Values, levels: Mapping[str, int], *, least: int
    ) -> tuple[str, Vector] | None:
        """That of the float tensors in *levels*, and its known factors, that fits *name*.

        Only tensors of the level *least* or more, see ``Structure``.
        """
        vectors = self.candidates(name, now)
        best: tuple[int, float] = (0, -np.inf)
        found = None
        for real, level in levels.items():
            if level >= least and vectors:
                vector, score = self.fit(name, now, real, vectors)
                if (vector != 1.0).any() and (level, score) > best:
                    best, found = (level, score), (real, vector)
        return found

    def fit(
        self,
        name: str,
        now: Values,
        real: str,
        vectors: Sequence[Vector],
        better: float = BETTER_DB,
    ) -> tuple[Vector, float]:
        """Of *vectors* that which takes *real* to *name*, and its SQNR in dB, see ``fitting``.

        *name* behind its saturation or without it, but for a lower limit of 0, which may be a Relu.
        """
        forms = [now[name]]
        position = self.positions.get(name)
        if position is not None and position.qparams is not None and position.source in now:
            before = now[position.source]
            relu = position.qparams.real_range[0] == 0.0
            forms.append(np.maximum(before, 0) if relu else before)
        found = [fitting(self.real.values[real], form, vectors, better) for form in forms]
        return max(found, key=lambda one: (bool((one[0] != 1.0).any()), one[1]))

    def candidates(self, name: str, now: Values) -> list[Vector]:
        """Factors that *name* may have: those that are noted, and those of what it is made of."""
        found = list(self.noted.vectors)
        heads = self.mine.heads.get(name, [])
        sources: list[Sequence[gs.Tensor]] = [h.sources for h in heads if h.kind not in COMPUTE]
        for group in sources if heads else [(self.mine.tensors[name],)]:
            found += of_joined([(self._of(t), _channels(t, now)) for t in group])
        return found

    def estimated(self, name: str, now: Values, reals: Iterable[str]) -> tuple[str, Vector] | None:
        """That of the float tensors *reals*, and its factors, that weights and values agree on."""
        best, found = -np.inf, None
        for real in () if self.noted.complete else reals:
            heads = self.mine.heads.get(name, ()), self.real.heads.get(real, ())
            if self.real.values[real].shape != now[name].shape:
                continue
            before = next((self._of(t) for h in heads[0] if h.kind == "Conv" for t in h.sources),
                          None)  # fmt: skip
            vector = factors_of_weights(self.mine, self.real, heads, before)
            if vector is not None and vector.min() > 0:
                chosen, score = self.fit(name, now, real, [vector], SEEN_DB)
                if (chosen != 1.0).any() and score > best:
                    best, found = score, (real, chosen)
        return found

    def suspected(self, names: Iterable[str], now: Values) -> bool:
        """Whether weights let expect that channels of one of *names* are scaled, and no note says.

        Weights of the same operator with the same values up to a factor for each output channel.
        """
        shapes: dict[tuple[int, ...], list[str]] = {}
        for real in self.real.heads:
            shapes.setdefault(self.real.values[real].shape, []).append(real)
        return not self.noted.complete and any(
            factors_of_weights(self.mine, self.real, (self.mine.heads[n], self.real.heads[r]), None)
            is not None
            for n in names
            for r in shapes.get(now[n].shape, ())
        )

    def undone(self, name: str) -> str | None:
        """The float model's tensor that *name* holds, where its operator takes factors off."""
        head = next(iter(self.mine.heads[name]), None)
        if head is None or head.node.op not in ("Mul", "Div") or len(head.sources) != 1:
            return None
        trail = [t.name for t in self.mine.skeleton.trail(head.sources[0])]
        source = next((n for n in trail if n in self.factors), None)
        place = next(i for i, t in enumerate(head.node.inputs) if t is not head.sources[0])
        other = head.node.inputs[place]
        by = constant_value(other)
        by = self.mine.values.get(other.name) if by is None else by
        if source is None or by is None or (head.node.op == "Div" and place == 0):
            return None
        left = self.factors[source] * (by if head.node.op == "Mul" else 1 / by)
        if left.size != self.factors[source].size or np.abs(left - 1).max() > _BACK:
            return None
        return self.tensors[source]

    def _of(self, tensor: gs.Tensor) -> Vector | None:
        """The factors of *tensor*, or of what it copies."""
        trail = [t.name for t in self.mine.skeleton.trail(tensor)]
        found = next((self.factors[n] for n in trail if n in self.factors), None)
        if found is None:
            return None
        along = found.size == found.shape[1]
        return (found.reshape(-1) if along else found).astype(np.float64)


def _channels(tensor: gs.Tensor, now: Values) -> int:
    value = now.get(tensor.name)
    return value.shape[1] if value is not None and value.ndim > 1 else 0
