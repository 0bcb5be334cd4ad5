"""How well the operator behind a tensor fits one of the float model, with what is known so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, attribute, constant_value
from onnxq.report.likeness import same_weights
from onnxq.report.relaxed import Values
from onnxq.report.skeleton import Head, Skeleton, weight

EQUAL_WEIGHTS = 0.9
"""Cosine from which weights are one model's: codes of 4 bits reach 0.98, others stay near 0."""

OTHER_WEIGHTS = 0.3
"""Cosine below which weights have nothing in common."""


class Side:
    """One of the two models: its tensors, what they are results of, and its values on the sample.

    Attributes:
        skeleton: its operators.
        tensors: by name.
        heads: what each tensor is the result of, by its name.
        values: its tensors on the sample; weights that are computed are read off them.
    """

    def __init__(self, model: Model) -> None:
        self.skeleton = Skeleton(model)
        self.tensors = model.tensors()
        self.heads: dict[str, list[Head]] = {}
        self.values: Values = {}
        self._weights: dict[int, NDArray[Any] | None] = {}

    def floats(self, head: Head) -> list[gs.Tensor]:
        """Activations that the operator reads; sizes and indices are not among them."""
        return [t for t in head.sources if t.name not in self.values or _real(self.values[t.name])]

    def weight(self, node: gs.Node) -> NDArray[Any] | None:
        """The weight of *node* in floats; None where it has none."""
        if id(node) not in self._weights:
            tensor, value = weight(node, self.skeleton), None
            if tensor is not None:
                value = constant_value(tensor)
                value = self.values.get(tensor.name) if value is None else value
            self._weights[id(node)] = value
        return self._weights[id(node)]


class Structure:
    """Compares operators of the quantized model, *mine*, with those of the float model, *real*.

    Args:
        known: maps what is recognised already, by name; grows while this is in use.
        guessed: the same for tensors whose channels may be scaled.
    """

    def __init__(
        self, mine: Side, real: Side, known: Mapping[str, str], guessed: Mapping[str, str]
    ) -> None:
        self.mine, self.real, self.known, self.guessed = mine, real, known, guessed
        self._alike: dict[tuple[int, int], float] = {}

    def source(self, tensor: gs.Tensor) -> str | None:
        """The float model's tensor that holds what *tensor* does, perhaps in another shape."""
        for same in self.mine.skeleton.trail(tensor):
            name = self.known.get(same.name) or self.guessed.get(same.name)
            if name is not None:
                return str(self.real.skeleton.origin(self.real.tensors[name]).name)
        return None

    def level(self, name: str, real: str) -> int:
        """How well the operators fit: 2 with sources or weights, 1 in kind, 0 not at all."""
        found = 0
        for mine in self.mine.heads[name]:
            for other in self.real.heads[real]:
                if mine.kind == other.kind and mine.slot == other.slot:
                    found = max(found, 2 if self._same(mine, other) else 1)
        return found

    def _same(self, mine: Head, other: Head) -> bool:
        sources = [self.source(t) for t in self.mine.floats(mine)]
        if None in sources:
            return self._weights(mine, other) >= EQUAL_WEIGHTS
        real = [self.real.skeleton.origin(t).name for t in self.real.floats(other)]
        return sorted(map(str, sources)) == sorted(real) and _attributes_fit(mine, other)

    def _weights(self, mine: Head, other: Head) -> float:
        key = id(mine.node), id(other.node)
        if key not in self._alike:
            one, two = self.mine.weight(mine.node), self.real.weight(other.node)
            self._alike[key] = -1.0 if one is None or two is None else same_weights(two, one)
        return self._alike[key]

    def weights(self, name: str, real: str) -> float:
        """Likeness of the weights of the operators of one kind behind two tensors; -1 for none."""
        pairs = [(a, b) for a in self.mine.heads[name] for b in self.real.heads[real]]
        return max((self._weights(a, b) for a, b in pairs if a.kind == b.kind), default=-1.0)

    def fit(self, name: str, real: str) -> tuple[bool, bool]:
        """What tells tensors of equal values apart: their readers, and the last operator."""
        mine, other = self.mine.heads[name], self.real.heads[real]
        readers = self.mine.skeleton.readers(self.mine.tensors[name])
        return (
            readers == self.real.skeleton.readers(self.real.tensors[real]),
            bool(mine and other) and mine[0].kind == other[0].kind,
        )


def _real(value: NDArray[Any]) -> bool:
    return value.dtype.kind not in "ib"


def _attributes_fit(one: Head, two: Head) -> bool:
    """Whether two operators of one kind stride, group and dilate alike."""
    if one.kind not in ("Conv", "ConvTranspose"):
        return True
    defaults: dict[str, Any] = {"group": 1, "strides": [1], "dilations": [1]}
    for key, default in defaults.items():
        a, b = (np.atleast_1d(attribute(h.node, key, default)) for h in (one, two))
        if not (a == b if a.shape == b.shape else (a == a[0]).all() and (b == a[0]).all()).all():
            return False
    return True
