"""What matching two models found: which tensor is which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass
class Matching:
    """What was recognised.

    Attributes:
        tensors: name in the quantized model → name in the float model.
        by_structure: those of them that were recognised by structure although the values differ.
        unmatched: name in the quantized model → why it was not recognised.
        factors: of those in ``tensors`` whose channels are scaled, what the float model's values
            are to be multiplied by, [1, channels, 1, …].
        estimated: those in ``factors`` that were estimated on the sample.
        scaled: those in ``unmatched`` whose channels are scaled.
        other_weights: those in ``by_structure`` whose weights differ too, so that one may doubt
            that the two models belong together.
    """

    tensors: dict[str, str] = field(default_factory=dict)
    by_structure: set[str] = field(default_factory=set)
    unmatched: dict[str, str] = field(default_factory=dict)
    factors: dict[str, NDArray[Any]] = field(default_factory=dict)
    estimated: set[str] = field(default_factory=set)
    scaled: set[str] = field(default_factory=set)
    other_weights: set[str] = field(default_factory=set)

    def spread(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give copies the match of what they copy, and back; *pairs* of both names, in order."""
        for a, b in (*pairs, *((copy, source) for source, copy in reversed(pairs))):
            if a in self.tensors and b not in self.scaled and b not in self.tensors:
                self.tensors[b] = self.tensors[a]
                if a in self.factors:
                    self.factors[b] = self.factors[a]
