"""A choice of precisions, and what was measured of it."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from onnxq.passes.plan.set_precision import SetPrecision
from onnxq.pipeline import Recipe

_PREFIX = re.compile(r"(op|re|from):")


@dataclass(frozen=True)
class Candidate:
    """A recipe, and the layers that do not run in the target's 8-bit kernels.

    Attributes:
        recipe: its name, or where it is.
        layers: pairs of node and precision, sorted.
    """

    recipe: str
    layers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, recipe: str, precisions: Mapping[str, str]) -> Candidate:
        """The candidate with *precisions* by node; 8 bits are what every other layer has."""
        return cls(recipe, tuple(sorted((n, p) for n, p in precisions.items() if p != "8")))

    @property
    def text(self) -> str:
        """The same for equal candidates: what the journal knows it by."""
        return "|".join([self.recipe, *(f"{node}={precision}" for node, precision in self.layers)])

    def counts(self) -> dict[str, int]:
        """How many layers have which precision, 8 bits aside."""
        return dict(Counter(precision for _, precision in self.layers))

    def put_into(self, recipe: Recipe) -> Recipe:
        """*recipe* with these precisions, in front of the pass that plans."""
        if not self.layers:
            return recipe
        passes = list(recipe.passes)
        place = next((i for i, p in enumerate(passes) if p.name == "plan-kernels"), len(passes))
        entries = tuple(f"{_pattern(node)}={precision}" for node, precision in self.layers)
        passes.insert(place, SetPrecision(layers=entries))
        return Recipe(tuple(passes), f"{recipe.name} tuned" if recipe.name else "tuned")


@dataclass(frozen=True)
class Measured:
    """What a candidate really is.

    Attributes:
        noise: noise power of the outputs over that of the signal, the mean over the outputs.
        sqnr_db: the least SQNR of an output, dB; 999 where exact.
        drop: see ``Budgets.max_drop``.
        metric: the user's metric.
        agreement: share of the samples whose top-1 class stays.
        bytes: size of the file.
        macs: by precision, percent of the multiply-accumulates.
        seconds: what making and measuring it took.
        latency_ms, speedup: of a run; where they were measured.
    """

    noise: float
    sqnr_db: float
    drop: float
    bytes: int
    macs: Mapping[str, float]
    seconds: float
    metric: float | None = None
    agreement: float | None = None
    latency_ms: float | None = None
    speedup: float | None = None

    def timed(self, latency_ms: float, speedup: float) -> Measured:
        """The same with a latency."""
        return replace(self, latency_ms=latency_ms, speedup=speedup)


def _pattern(node: str) -> str:
    """A pattern of ``exclude-nodes`` that *node* alone matches."""
    if _PREFIX.match(node):
        return f"re:{re.escape(node)}"
    return glob.escape(node)
